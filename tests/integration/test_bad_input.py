"""What a configuration of Snakemake's is refused with: one line, and nothing is made."""

import pytest

from helpers.workflow import plan, settings, sweep, write

LOCAL = {"source": "local", "runs": {"r": "runs"}}


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ({"hub": {"disk_gb": float("inf")}}, "sweep.yaml: hub.disk_gb: found inf; "),
        ({"results": "a\nb"}, r"sweep.yaml: results: found 'a\nb'; write a path that can be seen"),
        ({"suites": {"$(touch x)": LOCAL}}, "sweep.yaml: suites.$(touch x): found '$(touch x)'; "),
    ],
)
def test_a_refused_configuration_is_one_line_and_makes_nothing(tmp_path, text_file, more, said):
    write(tmp_path, settings(text_file, **{"suites": {"mine": LOCAL}, **more}))
    done = sweep(tmp_path, "--dry-run")
    assert done.returncode != 0
    assert "Traceback" not in done.stdout
    (line,) = [line for line in done.stdout.splitlines() if "shapesweep: error: " in line]
    assert said in line
    assert {path.name for path in tmp_path.iterdir()} <= {"sweep.yaml", ".snakemake"}


def test_folders_with_hostile_names_are_no_checkpoints(workspace):
    planned = plan(workspace)
    for name in ("checkpoint-7; touch x", "checkpoint-7\n", "$(touch x)", "-rf", "checkpoint-7 8"):
        (workspace / "runs/decoder" / name).mkdir()
    assert plan(workspace) == planned
