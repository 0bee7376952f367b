"""One file a thing: what lies in the folder is found, and nothing is listed twice."""

import sys
from pathlib import Path

import pytest

from shapesweep import corpora, figures, metrics, plugins
from shapesweep.errors import ShapesweepError


@pytest.mark.parametrize("room", [corpora, figures, metrics])
def test_every_file_of_a_room_is_a_thing_of_its_name(room):
    things = {corpora: "CORPORA", figures: "FIGURES", metrics: "METRICS"}[room]
    (folder,) = room.__path__
    files = Path(folder).glob("[!_]*.py")
    # The control of a metric lies in the metric's own file.
    named = {name.removesuffix("_between") for name in getattr(room, things)}
    assert named == {path.stem for path in files}


def test_a_file_that_defines_nothing_is_named(tmp_path, monkeypatch):
    (tmp_path / "room").mkdir()
    (tmp_path / "room/__init__.py").touch()
    (tmp_path / "room/_helper.py").touch()
    (tmp_path / "room/good.py").write_text("THING = 'x'\n", encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    assert plugins.discover("room", str, "THING") == {"good": "x"}
    (tmp_path / "room/bad.py").write_text("THING = 3\n", encoding="utf-8")
    sys.modules.pop("room.bad", None)
    with pytest.raises(ShapesweepError, match=r"bad\.py: must define THING, a str"):
        plugins.discover("room", str, "THING")
