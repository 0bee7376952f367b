"""Whole or not at all, whatever ends a process, and whoever else makes the same."""

import os
import signal
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from shapesweep.storage import atomic

WAITING = """
import sys, time
from shapesweep.storage import atomic
with getattr(atomic, sys.argv[1])(sys.argv[2]) as partial:
    print("begun", flush=True)
    time.sleep(600)
"""


@pytest.fixture(params=["folder", "file"])
def kind(request):
    return request.param


def make(kind, path, content):
    with getattr(atomic, kind)(path) as partial:
        (partial / "one" if kind == "folder" else partial).write_text(content, encoding="utf-8")


def read(kind, path):
    return (path / "one" if kind == "folder" else path).read_text(encoding="utf-8")


def begun(kind, path):
    """A process that has begun to make a path, and waits."""
    made = subprocess.Popen([sys.executable, "-c", WAITING, kind, path], stdout=subprocess.PIPE)
    assert made.stdout.readline() == b"begun\n"
    return made


def test_what_was_there_is_replaced_at_the_end(tmp_path, kind):
    path = tmp_path / "below" / "made"
    make(kind, path, "first")
    with getattr(atomic, kind)(path):
        assert read(kind, path) == "first"
    make(kind, path, "second")
    assert read(kind, path) == "second"
    assert list(path.parent.iterdir()) == [path]


def test_a_folder_where_a_file_is_to_be_is_left_alone(tmp_path):
    make("folder", tmp_path / "made", "mine")
    with pytest.raises(OSError, match="directory"):
        make("file", tmp_path / "made", "other")
    assert read("folder", tmp_path / "made") == "mine"
    assert len(list(tmp_path.iterdir())) == 1


def test_what_fails_leaves_what_was_there(tmp_path, kind):
    make(kind, tmp_path / "made", "first")
    with pytest.raises(KeyboardInterrupt), getattr(atomic, kind)(tmp_path / "made"):
        raise KeyboardInterrupt
    assert read(kind, tmp_path / "made") == "first"
    assert len(list(tmp_path.iterdir())) == 1


def test_what_the_dead_have_left_is_removed_and_what_the_living_make_is_not(tmp_path, kind):
    path = tmp_path / "made"
    dead, living = begun(kind, path), begun(kind, path)
    os.kill(dead.pid, signal.SIGKILL)
    dead.wait()
    assert len(atomic.partials(path)) == 2
    make(kind, path, "mine")
    assert read(kind, path) == "mine"
    assert len(atomic.partials(path)) == 1
    living.kill()
    living.wait()
    make(kind, path, "mine")
    assert not atomic.partials(path)


def test_others_may_read_what_the_umask_lets_them(tmp_path, kind):
    before = os.umask(0o022)
    make(kind, tmp_path / "made", "first")
    os.umask(before)
    expected = 0o755 if kind == "folder" else 0o644
    assert stat.S_IMODE((tmp_path / "made").stat().st_mode) == expected


def test_a_name_with_brackets_is_no_pattern(tmp_path, kind):
    make(kind, tmp_path / "[a]", "first")
    (tmp_path / ".a.x.partial").mkdir()
    make(kind, tmp_path / "[a]", "second")
    assert (tmp_path / ".a.x.partial").is_dir()


TEMPORARY = """
import sys, time
from pathlib import Path
from shapesweep.storage import atomic
with atomic.temporary(sys.argv[1], "shards") as folder:
    (folder / "one").mkdir()
    print(folder, flush=True)
    time.sleep(600)
"""


def begun_temporary(parent):
    """A process that uses a temporary folder, and that folder."""
    words = [sys.executable, "-c", TEMPORARY, parent]
    process = subprocess.Popen(words, stdout=subprocess.PIPE, text=True)
    return process, Path(process.stdout.readline().rstrip("\n"))


def test_a_lock_that_a_dead_process_left_alone_is_removed(tmp_path, kind):
    (tmp_path / ".made.abcdefgh.lock").touch()
    (tmp_path / ".other.abcdefgh.lock").touch()
    make(kind, tmp_path / "made", "mine")
    assert sorted(path.name for path in tmp_path.iterdir()) == [".other.abcdefgh.lock", "made"]


def test_many_at_once_do_not_disturb_each_other(tmp_path, kind):
    program = (
        "import sys\n"
        "from shapesweep.storage import atomic\n"
        "for number in range(300):\n"
        "    with getattr(atomic, sys.argv[2])(sys.argv[1]) as partial:\n"
        "        path = partial / 'one' if sys.argv[2] == 'folder' else partial\n"
        "        path.write_text('x' * 1000, encoding='utf-8')\n"
    )
    words = [sys.executable, "-c", program, str(tmp_path / "made"), kind]
    processes = [subprocess.Popen(words) for _ in range(4)]
    assert [process.wait() for process in processes] == [0] * 4
    assert [path.name for path in tmp_path.iterdir()] == ["made"]


def test_a_temporary_folder_is_removed_at_the_end(tmp_path):
    parent = tmp_path / "below" / "temporary"
    with atomic.temporary(parent, "shards") as first, atomic.temporary(parent, "shards") as second:
        assert first != second
        assert first.parent == second.parent == parent
        (first / "one").mkdir()
    assert not list(parent.iterdir())
    with pytest.raises(KeyboardInterrupt), atomic.temporary(parent, "shards"):
        raise KeyboardInterrupt
    assert not list(parent.iterdir())


def test_temporary_folders_of_the_dead_are_removed_and_those_of_the_living_are_not(tmp_path):
    dead, left = begun_temporary(tmp_path)
    living, used = begun_temporary(tmp_path)
    os.kill(dead.pid, signal.SIGKILL)
    dead.wait()
    with atomic.temporary(tmp_path, "shards"):
        assert not left.exists()
        assert (used / "one").is_dir()
    living.kill()
    living.wait()


def test_what_else_lies_beside_temporary_folders_is_left_alone(tmp_path):
    (tmp_path / "mine").mkdir()
    (tmp_path / ".mine").mkdir()
    with atomic.temporary(tmp_path, "shards"):
        pass
    assert sorted(path.name for path in tmp_path.iterdir()) == [".mine", "mine"]
