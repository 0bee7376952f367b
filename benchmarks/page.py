"""Run parts of a benchmark in separate processes, and write tables to the documentation."""

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

REFERENCE = Path(__file__).parents[1] / "docs/reference"
THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")


def at_once(script, calls, threads):
    """Call a script several times in parallel, and return the JSON values that the calls print."""
    environment = {**os.environ, **dict.fromkeys(THREADS, str(threads))}
    commands = [[sys.executable, script, *call] for call in calls]
    with tempfile.TemporaryFile("w+") as errors:
        pipes = {"stdout": subprocess.PIPE, "stderr": errors}
        children = [subprocess.Popen(command, env=environment, **pipes) for command in commands]
        outputs = [child.communicate()[0] for child in children]
        if any(child.returncode for child in children):
            errors.seek(0)
            raise SystemExit(f"{errors.read()}{calls[0]}: failed")
    return [json.loads(output) for output in outputs]


def put(name, part, text):
    """Print a text, and write it to a page, between the two comments that name the part."""
    print(text, flush=True)
    path = REFERENCE / name
    begin, end = f"<!-- {part}: written by `make bench` -->", f"<!-- /{part} -->"
    head, _, rest = path.read_text(encoding="utf-8").partition(begin)
    _, _, tail = rest.partition(end)
    path.write_text(f"{head}{begin}\n\n{text}\n{end}{tail}", encoding="utf-8")
