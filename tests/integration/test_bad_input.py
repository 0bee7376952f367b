"""If the configuration is invalid, Snakemake stops with a one-line error and writes nothing."""

import pytest

from helpers.workflow import error_line, plan, refused, settings, write

LOCAL = {"source": "local", "runs": {"r": "runs"}}


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ({"hub": {"disk_gb": float("inf")}}, "sweep.yaml: hub.disk_gb: found inf; "),
        ({"results": "a\nb"}, r"sweep.yaml: results: found 'a\nb'; the path must be printable"),
        ({"corpora": ["texts"]}, "sweep.yaml: corpora.0: found 'texts'"),
        ({"geometri": {}}, "sweep.yaml: geometri: there is no such key"),
        ({"suites": {"mine": {**LOCAL, "runs": {"r": "absent"}}}}, "there is no folder absent"),
        ({"suites": {"$(touch x)": LOCAL}}, "sweep.yaml: suites.$(touch x): found '$(touch x)'; "),
    ],
)
def test_an_invalid_configuration_is_refused_in_one_line_before_files_are_written(
    tmp_path, text_file, more, message
):
    write(tmp_path, settings(text_file, **{"suites": {"mine": LOCAL}, **more}))
    assert message in error_line(refused(tmp_path, "numbers"))
    assert {path.name for path in tmp_path.iterdir()} <= {"sweep.yaml", ".snakemake"}


def test_folders_with_hostile_names_are_ignored(workspace):
    planned = plan(workspace)
    for name in ("checkpoint-7; touch x", "checkpoint-7\n", "$(touch x)", "-rf", "checkpoint-7 8"):
        (workspace / "runs/decoder" / name).mkdir()
    assert plan(workspace) == planned
