"""Truncated results are detected, and truncated settings are not used."""

import pytest

from shapesweep.config import measurement
from shapesweep.errors import ShapesweepError
from shapesweep.plan.damage import damaged
from shapesweep.storage import schemas, tables
from shapesweep.storage.digests import digest


@pytest.fixture
def complete(tmp_path):
    """One complete file of each format."""
    contents = {
        "a.svg": b"<svg>\n</svg>\n",
        "a.pdf": b"%PDF-1.4\n%%EOF\n",
        "a.png": b"\x89PNG rest IEND\xaeB`\x82",
        "a.csv": b"x\n1\n",
        "a.txt": b"text\n",
        "a.html": b"<html></html>",
    }
    for name, content in contents.items():
        (tmp_path / name).write_bytes(content)
    tables.write([], schemas.LOSSES, tmp_path / "a.parquet")
    return sorted(tmp_path.iterdir())


def test_complete_and_absent_files_are_not_damaged(complete, tmp_path):
    assert damaged([*complete, tmp_path / "absent.svg"]) == []


@pytest.mark.parametrize("length", [0, -3])
def test_truncated_files_are_damaged(complete, length):
    for path in complete:
        path.write_bytes(path.read_bytes()[:length])
    assert damaged(complete) == complete


def test_settings_that_differ_from_their_fingerprint_are_not_read(tmp_path):
    text = measurement.as_yaml(measurement.Measurement(corpora=["text", "random"]))
    path = tmp_path / f"{digest(text)}.yaml"
    path.write_text(text, encoding="utf-8")
    assert measurement.load(path).corpora == ["text", "random"]
    # A truncated YAML file can be valid YAML with another meaning.
    path.write_text("corpora: [text]\n", encoding="utf-8")
    with pytest.raises(ShapesweepError, match="damaged; remove it, and run again"):
        measurement.load(path)
