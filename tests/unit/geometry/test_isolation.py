"""A job in a child process survives checkpoints that end the process.

A process that has imported torch runs a job without a child, so each test starts a new process.
"""

import os
import signal
import subprocess
import sys
import time

import pytest

BEGIN = """
import os, signal, sys, time
from shapesweep.errors import ShapesweepError
from shapesweep.geometry import isolation


def die(number):
    os.kill(os.getpid(), number)


def job(attempt):
    for revision in "abc":
        if revision in attempt.crashed:
            reason = str(attempt.crashed[revision]).removeprefix("out of memory: ")
            print(f"{revision}: {reason.partition(',')[0]}", flush=True)
            continue
        attempt.begin(revision)
        measure(revision)
        print(revision, "measured", flush=True)
    return 0


def run(job, retries=0):
    try:
        sys.exit(isolation.run(job, retries))
    except ShapesweepError as error:
        sys.exit(f"{type(error).__name__}: {error}")
"""


def start(code, **more):
    return subprocess.Popen(
        [sys.executable, "-c", BEGIN + code],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        **more,
    )


def ended(code):
    """Run code, and return the exit status and the words of both streams."""
    process = start(code)
    output, errors = process.communicate(timeout=60)
    return process.returncode, output.splitlines(), errors


def test_job_without_crashes_runs_once():
    status, output, errors = ended("measure = str\nrun(job)")
    assert (status, output, errors) == (0, ["a measured", "b measured", "c measured"], "")


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSEGV, signal.SIGABRT, signal.SIGBUS])
def test_checkpoint_that_ends_the_process_twice_is_left_out(number):
    status, output, errors = ended(f"measure = lambda r: r == 'b' and die({int(number)})\nrun(job)")
    assert status == 0
    kind = "the process was killed" if number == signal.SIGKILL else "the process crashed"
    assert output[:2] == ["a measured"] * 2
    assert output[2:] == ["a measured", f"b: {kind} ({number.name})", "c measured"]
    assert errors == ""


def test_all_checkpoints_may_crash():
    status, output, _ = ended("measure = lambda r: die(signal.SIGKILL)\nrun(job)")
    assert (status, output[-3:]) == (0, [f"{r}: the process was killed (SIGKILL)" for r in "abc"])


def test_status_and_traceback_of_a_job_are_passed_on():
    assert ended("run(lambda attempt: 3)") == (3, [], "")
    status, _, errors = ended("run(lambda attempt: 1 / 0)")
    assert status == 1
    assert errors.splitlines()[-1] == "ZeroDivisionError: division by zero"


def test_crash_outside_a_checkpoint_is_an_error():
    status, _, errors = ended("run(lambda attempt: die(signal.SIGSEGV))")
    assert (status, errors) == (1, "UnexpectedError: the process crashed (SIGSEGV)\n")


def test_killed_job_fails_while_it_will_be_repeated():
    code = "measure = lambda r: r == 'b' and die(signal.{})\nrun(job, retries=1)"
    status, output, errors = ended(code.format("SIGKILL"))
    assert (status, output) == (1, ["a measured"])
    assert errors.endswith("; the job will be repeated with more memory\n")
    # More memory does not help if native code crashes.
    assert ended(code.format("SIGSEGV"))[0] == 0


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGUSR1, signal.SIGXCPU, 35])
def test_signals_of_users_and_schedulers_end_the_job(number):
    status, output, errors = ended(f"measure = lambda r: r == 'b' and die({int(number)})\nrun(job)")
    assert (status, output, errors) == (128 + number, ["a measured"], "")


def test_child_cleans_up_after_an_interrupt_from_the_terminal(tmp_path):
    folder = tmp_path / "folder"
    code = f"""
import shutil
from pathlib import Path

folder = Path({str(folder)!r})

def measure(revision):
    folder.mkdir()
    try:
        print("begun", flush=True)
        time.sleep(60)
    finally:
        time.sleep(1)
        shutil.rmtree(folder)

run(job)
"""
    process = start(code, start_new_session=True)
    assert process.stdout.readline() == "begun\n"
    os.killpg(process.pid, signal.SIGINT)
    process.communicate(timeout=10)
    assert not folder.exists()


def test_processes_that_the_child_leaves_behind_do_not_block_the_job():
    code = """
import multiprocessing

def measure(revision):
    process = multiprocessing.get_context("fork").Process(target=time.sleep, args=(60,))
    process.start()
    print(process.pid, file=sys.stderr, flush=True)
    die(signal.SIGSEGV)

run(lambda attempt: job(attempt))
"""
    process = start(code)
    assert process.wait(timeout=30) == 0
    for _ in range(4):
        os.kill(int(process.stderr.readline()), signal.SIGKILL)


def test_job_without_an_output_stream_is_run():
    process = subprocess.run(
        [sys.executable, "-c", f"{BEGIN}measure = str\nsys.stdout.close()\nrun(lambda a: 3)"],
        check=False,
        capture_output=True,
    )
    assert process.returncode == 3


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_child_ends_with_its_parent(number):
    process = start(
        "measure = lambda r: (print(os.getpid(), flush=True), time.sleep(60))\nrun(job)"
    )
    child = process.stdout.readline().strip()
    process.send_signal(number)
    process.wait(10)
    # The pipe closes when all processes that can write to it have ended.
    begin = time.monotonic()
    process.stdout.read()
    assert time.monotonic() - begin < 10
    assert child.isdecimal()
