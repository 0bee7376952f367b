"""Atomic writes: paths are complete or absent, after interruptions and with other writers."""

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


def write(kind, path, content):
    with getattr(atomic, kind)(path) as partial:
        (partial / "one" if kind == "folder" else partial).write_text(content, encoding="utf-8")


def read(kind, path):
    return (path / "one" if kind == "folder" else path).read_text(encoding="utf-8")


def start_writer(kind, path):
    """Start a process that begins to write a path, and waits."""
    process = subprocess.Popen([sys.executable, "-c", WAITING, kind, path], stdout=subprocess.PIPE)
    assert process.stdout.readline() == b"begun\n"
    return process


def test_existing_path_is_replaced_at_the_end(tmp_path, kind):
    path = tmp_path / "below" / "made"
    write(kind, path, "first")
    with getattr(atomic, kind)(path):
        assert read(kind, path) == "first"
    write(kind, path, "second")
    assert read(kind, path) == "second"
    assert list(path.parent.iterdir()) == [path]


def test_folder_is_not_replaced_by_a_file(tmp_path):
    write("folder", tmp_path / "made", "mine")
    with pytest.raises(OSError, match="directory"):
        write("file", tmp_path / "made", "other")
    assert read("folder", tmp_path / "made") == "mine"
    assert len(list(tmp_path.iterdir())) == 1


def test_failure_keeps_the_existing_path(tmp_path, kind):
    write(kind, tmp_path / "made", "first")
    with pytest.raises(KeyboardInterrupt), getattr(atomic, kind)(tmp_path / "made"):
        raise KeyboardInterrupt
    assert read(kind, tmp_path / "made") == "first"
    assert len(list(tmp_path.iterdir())) == 1


def test_leftovers_of_dead_processes_are_removed_and_those_of_living_ones_kept(tmp_path, kind):
    path = tmp_path / "made"
    dead, living = start_writer(kind, path), start_writer(kind, path)
    os.kill(dead.pid, signal.SIGKILL)
    dead.wait()
    assert len(atomic.partials(path)) == 2
    write(kind, path, "mine")
    assert read(kind, path) == "mine"
    assert len(atomic.partials(path)) == 1
    living.kill()
    living.wait()
    write(kind, path, "mine")
    assert not atomic.partials(path)


def test_permissions_follow_the_umask(tmp_path, kind):
    before = os.umask(0o022)
    write(kind, tmp_path / "made", "first")
    os.umask(before)
    expected = 0o755 if kind == "folder" else 0o644
    assert stat.S_IMODE((tmp_path / "made").stat().st_mode) == expected


def test_name_with_brackets_is_not_a_pattern(tmp_path, kind):
    write(kind, tmp_path / "[a]", "first")
    (tmp_path / ".a.x.partial").mkdir()
    write(kind, tmp_path / "[a]", "second")
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


def start_temporary(parent):
    """Start a process that uses a temporary folder. Return both."""
    arguments = [sys.executable, "-c", TEMPORARY, parent]
    process = subprocess.Popen(arguments, stdout=subprocess.PIPE, text=True)
    return process, Path(process.stdout.readline().rstrip("\n"))


def test_lock_of_a_dead_process_is_removed(tmp_path, kind):
    (tmp_path / ".made.abcdefgh.lock").touch()
    (tmp_path / ".other.abcdefgh.lock").touch()
    write(kind, tmp_path / "made", "mine")
    assert sorted(path.name for path in tmp_path.iterdir()) == [".other.abcdefgh.lock", "made"]


def test_concurrent_writers_do_not_disturb_each_other(tmp_path, kind):
    program = (
        "import sys\n"
        "from shapesweep.storage import atomic\n"
        "for number in range(300):\n"
        "    with getattr(atomic, sys.argv[2])(sys.argv[1]) as partial:\n"
        "        path = partial / 'one' if sys.argv[2] == 'folder' else partial\n"
        "        path.write_text('x' * 1000, encoding='utf-8')\n"
    )
    arguments = [sys.executable, "-c", program, str(tmp_path / "made"), kind]
    processes = [subprocess.Popen(arguments) for _ in range(4)]
    assert [process.wait() for process in processes] == [0] * 4
    assert [path.name for path in tmp_path.iterdir()] == ["made"]


def test_temporary_folder_is_removed_at_the_end(tmp_path):
    parent = tmp_path / "below" / "temporary"
    with atomic.temporary(parent, "shards") as first, atomic.temporary(parent, "shards") as second:
        assert first != second
        assert first.parent == second.parent == parent
        (first / "one").mkdir()
    assert not list(parent.iterdir())
    with pytest.raises(KeyboardInterrupt), atomic.temporary(parent, "shards"):
        raise KeyboardInterrupt
    assert not list(parent.iterdir())


def test_temporary_folders_of_dead_processes_are_removed_and_others_are_kept(tmp_path):
    dead, left = start_temporary(tmp_path)
    living, used = start_temporary(tmp_path)
    os.kill(dead.pid, signal.SIGKILL)
    dead.wait()
    with atomic.temporary(tmp_path, "shards"):
        assert not left.exists()
        assert (used / "one").is_dir()
    living.kill()
    living.wait()


def test_folders_beside_temporary_folders_are_kept(tmp_path):
    (tmp_path / "mine").mkdir()
    (tmp_path / ".mine").mkdir()
    with atomic.temporary(tmp_path, "shards"):
        pass
    assert sorted(path.name for path in tmp_path.iterdir()) == [".mine", "mine"]
