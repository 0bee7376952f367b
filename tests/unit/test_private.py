"""Folders in places that all users of a machine share."""

import os
import stat

import pytest

from shapesweep.errors import ShapesweepError
from shapesweep.private import private_folder


def test_a_folder_is_created_and_closed_to_others(tmp_path):
    for path in (tmp_path / "new/folder", tmp_path / "old"):
        if path.name == "old":
            path.mkdir(mode=0o755)
        assert private_folder(path, "") == path
        assert stat.S_IMODE(path.stat().st_mode) == 0o700


def test_a_link_is_refused(tmp_path):
    (tmp_path / "target").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "target")
    with pytest.raises(ShapesweepError, match=r"link: belongs to somebody else; use another"):
        private_folder(tmp_path / "link", "use another")


def test_a_folder_of_another_user_is_refused(tmp_path, monkeypatch):
    own = os.getuid()
    monkeypatch.setattr(os, "getuid", lambda: own + 1)
    with pytest.raises(ShapesweepError, match="belongs to somebody else"):
        private_folder(tmp_path, "use another")
