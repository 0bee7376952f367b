"""Results that are cut off are found, and settings that are cut off are not read."""

import pytest

from shapesweep.config import measurement
from shapesweep.errors import ShapesweepError
from shapesweep.plan.damage import damaged
from shapesweep.storage import schemas, tables
from shapesweep.storage.digests import digest


@pytest.fixture
def whole(tmp_path):
    """A file of each kind, whole."""
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


def test_files_that_are_whole_or_absent_are_not_damaged(whole, tmp_path):
    assert damaged([*whole, tmp_path / "absent.svg"]) == []


@pytest.mark.parametrize("length", [0, -3])
def test_files_that_are_cut_off_are_damaged(whole, length):
    for path in whole:
        path.write_bytes(path.read_bytes()[:length])
    assert damaged(whole) == whole


def test_settings_are_read_as_they_were_written_or_not_at_all(tmp_path):
    text = measurement.as_yaml(measurement.Measurement(corpora=["text", "random"]))
    path = tmp_path / f"{digest(text)}.yaml"
    path.write_text(text, encoding="utf-8")
    assert measurement.load(path).corpora == ["text", "random"]
    # What is left is valid, and says something else.
    path.write_text("corpora: [text]\n", encoding="utf-8")
    with pytest.raises(ShapesweepError, match="damaged; remove it, and run again"):
        measurement.load(path)
