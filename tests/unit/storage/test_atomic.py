"""After an interruption or concurrent writes, each file or folder is either complete or absent."""

import os
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
    print(partial, flush=True)
    time.sleep(600)
"""


TEMPORARY = """
import sys, time
from pathlib import Path
from shapesweep.storage import atomic
with atomic.temporary(sys.argv[1], "shards") as folder:
    (folder / "one").mkdir()
    print(folder, flush=True)
    time.sleep(600)
"""
WRITER = """
import sys
from shapesweep.storage import atomic
for number in range(300):
    with getattr(atomic, sys.argv[2])(sys.argv[1]) as partial:
        path = partial / "one" if sys.argv[2] == "folder" else partial
        path.write_text("x" * 1000, encoding="utf-8")
"""


@pytest.fixture(params=["folder", "file"])
def kind(request):
    return request.param


def write(kind, path, content):
    with getattr(atomic, kind)(path) as partial:
        (partial / "one" if kind == "folder" else partial).write_text(content, encoding="utf-8")


def read(kind, path):
    return (path / "one" if kind == "folder" else path).read_text(encoding="utf-8")


def start(program, *words):
    """Start a process, and return the process and the first line that it prints."""
    arguments = [sys.executable, "-c", program, *words]
    process = subprocess.Popen(arguments, stdout=subprocess.PIPE, text=True)
    return process, process.stdout.readline().rstrip("\n")


def kill(process):
    process.kill()
    process.wait()


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
    dead, living = (start(WAITING, kind, path)[0] for _ in range(2))
    kill(dead)
    assert len(atomic.partials(path)) == 2
    write(kind, path, "mine")
    assert read(kind, path) == "mine"
    assert len(atomic.partials(path)) == 1
    kill(living)
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


def test_lock_of_a_dead_process_is_removed(tmp_path, kind):
    (tmp_path / ".made.abcdefgh.lock").touch()
    (tmp_path / ".other.abcdefgh.lock").touch()
    write(kind, tmp_path / "made", "mine")
    assert sorted(path.name for path in tmp_path.iterdir()) == [".other.abcdefgh.lock", "made"]


def test_concurrent_writers_do_not_disturb_each_other(tmp_path, kind):
    arguments = [sys.executable, "-c", WRITER, tmp_path / "made", kind]
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
    dead, left = start(TEMPORARY, tmp_path)
    living, used = start(TEMPORARY, tmp_path)
    kill(dead)
    with atomic.temporary(tmp_path, "shards"):
        assert not Path(left).exists()
        assert Path(used, "one").is_dir()
    kill(living)


def test_folders_beside_temporary_folders_are_kept(tmp_path):
    (tmp_path / "mine").mkdir()
    (tmp_path / ".mine").mkdir()
    with atomic.temporary(tmp_path, "shards"):
        pass
    assert sorted(path.name for path in tmp_path.iterdir()) == [".mine", "mine"]
