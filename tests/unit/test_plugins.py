"""Plugins: every file of a package is found, and defines entries that are named after it."""

import sys
from pathlib import Path

import pytest

from shapesweep import corpora, figures, metrics, plugins
from shapesweep.errors import ShapesweepError


@pytest.mark.parametrize("package", [corpora, figures, metrics])
def test_every_file_of_a_package_defines_entries_of_its_name(package):
    registry = {corpora: "CORPORA", figures: "FIGURES", metrics: "ALL_METRICS"}[package]
    (folder,) = package.__path__
    files = Path(folder).glob("[!_]*.py")
    # A file may define several metrics. Their names start with the name of the file.
    names, stems = set(getattr(package, registry)), {path.stem for path in files}
    assert all(any(name.startswith(stem) for stem in stems) for name in names)
    assert all(any(name.startswith(stem) for name in names) for stem in stems)


def test_error_names_a_file_without_a_definition(tmp_path, monkeypatch):
    (tmp_path / "room").mkdir()
    (tmp_path / "room/__init__.py").touch()
    (tmp_path / "room/_helper.py").touch()
    (tmp_path / "room/good.py").write_text("THING = 'x'\n", encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    assert plugins.discover("room", str, "THING") == {"good": "x"}
    (tmp_path / "room/few.py").write_text(
        "THING = {'few_b': 'b', 'few_a': 'a'}\n", encoding="utf-8"
    )
    found = plugins.discover("room", str, "THING")
    assert list(found.items()) == [("few_a", "a"), ("few_b", "b"), ("good", "x")]
    (tmp_path / "room/few.py").write_text("THING = {'other': 'b'}\n", encoding="utf-8")
    sys.modules.pop("room.few", None)
    with pytest.raises(ShapesweepError, match=r"few\.py: must define THING"):
        plugins.discover("room", str, "THING")
    (tmp_path / "room/few.py").unlink()
    (tmp_path / "room/bad.py").write_text("THING = 3\n", encoding="utf-8")
    sys.modules.pop("room.bad", None)
    with pytest.raises(ShapesweepError, match=r"bad\.py: must define THING, a str, or a dict"):
        plugins.discover("room", str, "THING")
