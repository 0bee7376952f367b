"""Private folders are safe in directories that all users of a machine share."""

import os
import stat

import pytest

from shapesweep.errors import ShapesweepError
from shapesweep.storage.private import private_folder


def test_folder_is_created_with_access_for_its_owner_only(tmp_path):
    for path in (tmp_path / "new/folder", tmp_path / "old"):
        if path.name == "old":
            path.mkdir(mode=0o755)
        assert private_folder(path, "") == path
        assert stat.S_IMODE(path.stat().st_mode) == 0o700


@pytest.mark.parametrize("exists", [True, False])
def test_link_is_refused(tmp_path, exists):
    if exists:
        (tmp_path / "target").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "target")
    with pytest.raises(
        ShapesweepError, match=r"link: is not a folder that belongs to you; use another"
    ):
        private_folder(tmp_path / "link", "use another")


def test_folder_of_another_user_is_refused(tmp_path, monkeypatch):
    own = os.getuid()
    monkeypatch.setattr(os, "getuid", lambda: own + 1)
    with pytest.raises(ShapesweepError, match="is not a folder that belongs to you"):
        private_folder(tmp_path, "use another")
