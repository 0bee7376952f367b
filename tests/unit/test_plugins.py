"""One file a thing: what lies in the folder is found, and nothing is listed twice."""

import sys
from pathlib import Path

import pytest

from shapesweep import corpora, figures, metrics, plugins
from shapesweep.errors import ShapesweepError


@pytest.mark.parametrize("room", [corpora, figures, metrics])
def test_every_file_of_a_room_is_a_thing_of_its_name(room):
    things = {corpora: "CORPORA", figures: "FIGURES", metrics: "ALL_METRICS"}[room]
    (folder,) = room.__path__
    files = Path(folder).glob("[!_]*.py")
    # A file may define several metrics, whose names begin with its own.
    names, stems = set(getattr(room, things)), {path.stem for path in files}
    assert all(any(name.startswith(stem) for stem in stems) for name in names)
    assert all(any(name.startswith(stem) for name in names) for stem in stems)


def test_a_file_that_defines_nothing_is_named(tmp_path, monkeypatch):
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
