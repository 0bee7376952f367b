"""Every file of a plugin package is found. A plugin's name starts with the name of its file."""

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
    # A file may define several metrics. The name of each metric starts with the name of the file.
    names, stems = set(getattr(package, registry)), {path.stem for path in files}
    assert all(any(name.startswith(stem) for stem in stems) for name in names)
    assert all(any(name.startswith(stem) for name in names) for stem in stems)


def test_error_names_a_file_without_a_definition(tmp_path, monkeypatch):
    def discover(**things):
        for name, thing in things.items():
            (tmp_path / f"room/{name}.py").write_text(f"THING = {thing!r}\n", encoding="utf-8")
            sys.modules.pop(f"room.{name}", None)
        return list(plugins.discover("room", str, "THING").items())

    (tmp_path / "room").mkdir()
    (tmp_path / "room/__init__.py").touch()
    (tmp_path / "room/_helper.py").touch()
    monkeypatch.syspath_prepend(tmp_path)
    assert discover(good="x") == [("good", "x")]
    found = discover(few={"few_b": "b", "few_a": "a"})
    assert found == [("few_a", "a"), ("few_b", "b"), ("good", "x")]
    for name, thing in (("few", {"other": "b"}), ("bad", 3)):
        message = rf"{name}\.py: must define THING as a str, or as a dict"
        with pytest.raises(ShapesweepError, match=message):
            discover(**{name: thing})
        (tmp_path / f"room/{name}.py").unlink()
