"""Sweeps run on a real Slurm, whose only node claims more cores and GPUs than it has.

The tests emulate the scheduler PBS with commands that call the commands of Slurm.
"""

import functools
import os
import re
import subprocess

import pandas as pd
import pytest

from helpers import requirements
from helpers.workflow import ROOT, command, complete, read, settings, write

#: Options that shorten Snakemake's waiting times. In the tests, jobs start immediately and share a
#: local disk.
PROFILE = ["--profile", ROOT / "profiles/slurm", "--latency-wait", "5"]
PROFILE += ["--slurm-init-seconds-before-status-checks", "1"]

#: Two jobs: one needs more memory than it first requests, and the other needs more time.
TROUBLE = """
rule all:
    input: "grown", "late"

rule grown:
    output: "grown"
    resources: mem_mb=lambda w, attempt: 300 * attempt, runtime=5
    shell: "test {resources.mem_mb} -ge 900 && touch {output}"

rule late:
    output: "late"
    retries: 0
    resources: mem_mb=300, runtime=1
    shell: "sleep 600"
"""

#: The commands of PBS that the profile uses.
PBS = {
    "qsub": """
        echo "$@" >> "${0%/*}/requests"
        sbatch --parsable --output /dev/null "${@: -1}"
    """,
    "qstat": """
        job=$(scontrol show job "$3")
        [[ $job =~ JobState=(COMPLETED|FAILED) ]] && echo "job_state = F"
        [[ $job =~ ExitCode=([0-9]+) ]] && echo "Exit_status = ${BASH_REMATCH[1]}"
    """,
    "qdel": 'scancel "$@"',
}


@pytest.fixture(scope="module")
def slurm(tmp_path_factory):
    requirements.slurm()
    folder = tmp_path_factory.mktemp("slurm")
    started = subprocess.run(
        [requirements.CLUSTER, "start", folder], stderr=subprocess.PIPE, text=True
    )
    if started.returncode:
        pytest.fail(started.stderr, pytrace=False)
    yield folder
    subprocess.run([requirements.CLUSTER, "stop", folder], check=True)


@pytest.fixture(scope="module")
def trouble(slurm, tmp_path_factory):
    """The Snakemake process that runs the workflow `TROUBLE`.

    This workflow takes a minute, so it runs in parallel with another test.
    """
    folder = tmp_path_factory.mktemp("trouble")
    (folder / "Snakefile").write_text(TROUBLE, encoding="utf-8")
    write(folder, {})
    words = command(folder, *PROFILE, "--keep-going", snakefile=folder / "Snakefile", cold=True)
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT}
    with subprocess.Popen(**words, **pipes) as running:
        yield running
        running.terminate()


@pytest.fixture
def workspace(tmp_path):
    return tmp_path / "mein Prüfstand"


#: Jobs must run in the processes that the scheduler starts, and not in forks of a server.
on_cluster = functools.partial(complete, cold=True)


def output_of(*words):
    return subprocess.run(words, check=True, stdout=subprocess.PIPE, text=True).stdout


def jobs(output):
    """Return what Slurm reports about the jobs of a run, in the order of submission."""
    run = re.search(r"SLURM run ID: (\S+)", output)[1]
    lines = output_of("scontrol", "show", "jobs", "--oneliner").splitlines()
    reported = [dict(word.split("=", 1) for word in line.split() if "=" in word) for line in lines]
    return sorted(
        (job for job in reported if job["JobName"] == run), key=lambda job: int(job["JobId"])
    )


def test_a_sweep_on_slurm_gives_the_same_numbers_as_a_local_sweep(
    trouble, slurm, workspace, publish, text_file
):
    here = workspace.with_name("here")
    suites = publish([0, 8])
    chosen = settings(text_file, suites=suites, corpora=["text"], checkpoints_per_job=1)
    write(here, chosen)
    # Write downloads and shards to a disk that only the node can access.
    write(workspace, {**chosen, "scratch": str(slurm / "disk")})
    # Run the local sweep in parallel with the sweep on Slurm, which mostly waits.
    local = subprocess.Popen(**command(here, "--", "results/geometry.parquet"))
    gpu = ["--set-resources", "geometry:gpu=1"]
    known = jobs(on_cluster(workspace, *PROFILE, *gpu, "--", "numbers"))
    assert {job["JobState"] for job in known} == {"COMPLETED"}
    # For each batch, a single job with a GPU downloads and measures the batch, so all files of the
    # batch are on the same node.
    name = "rule_checkpoint_download_geometry"
    grouped = [job for job in known if job["Comment"] == name]
    written = list((workspace / "results/geometry").rglob("geometry.parquet"))
    assert len(grouped) == len(written) == 2
    assert {job["TresPerJob"] for job in grouped} == {"gres:gpu:1"}
    # Collect the rules of all jobs that do not measure a batch. The field `Comment` contains the
    # name of the rule, followed by the wildcards.
    others = {job["Comment"].split("_")[1] for job in known if job not in grouped}
    assert others == {"listing", "tokenizer"}
    for kind in ("checkpoints", "activations"):
        assert not (workspace / "results" / kind).exists()
        # The files of the batch were on the disk of the node, and have been removed.
        (folder,) = (slurm / "node").glob(f"shapesweep-*/{kind}")
        assert not list(folder.rglob("*.[sp]a*"))
        assert not list((slurm / "disk").iterdir())
    assert "Nothing to be done" in on_cluster(workspace, *PROFILE, "--", "numbers")

    assert local.wait() == 0
    for name in ("geometry", "replicates", "losses", "failures"):
        # Jobs use the same number of threads in both sweeps, so the numbers are identical.
        actual, expected = (read(folder, name) for folder in (workspace, here))
        pd.testing.assert_frame_equal(actual, expected, check_exact=True)


def test_a_sweep_on_another_scheduler(slurm, workspace, tmp_path, runs, text_file, monkeypatch):
    tiny = {"source": "local", "runs": {"decoder": str(runs / "decoder")}}
    chosen = {"checkpoints": {"steps": [100]}, "corpora": ["text"]}
    write(workspace, settings(text_file, suites={"tiny": tiny}, **chosen))
    programs = tmp_path / "bin"
    programs.mkdir()
    for name, lines in PBS.items():
        (programs / name).write_text(f"#!/usr/bin/env bash\n{lines}", encoding="utf-8")
        (programs / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{programs}:{os.environ['PATH']}")
    quick = ["--latency-wait", "5", "--seconds-between-status-checks", "1"]
    profile = ["--profile", ROOT / "profiles/generic", *quick]
    output = on_cluster(workspace, *profile, "--", "results/geometry.parquet")
    requests = (programs / "requests").read_text(encoding="utf-8").splitlines()
    # Only the job of the checkpoint is submitted.
    assert len(requests) == output.count("with external jobid") == 1
    assert all(re.search(r"ncpus=1:mem=\d+mb -l walltime=\d+ ", line) for line in requests)


def test_failed_jobs_get_more_memory_and_late_jobs_are_stopped(trouble):
    output, _ = trouble.communicate(timeout=180)
    assert trouble.returncode == 1, output
    known = jobs(output)
    grown = [job for job in known if job["Comment"] == "rule_grown"]
    assert [job["MinMemoryNode"] for job in grown] == ["300M", "600M", "900M"]
    assert [job["JobState"] for job in grown] == ["FAILED", "FAILED", "COMPLETED"]
    (late,) = [job for job in known if job not in grown]
    assert late["JobState"] == "TIMEOUT"
    assert "SLURM status is: 'TIMEOUT'" in output
    assert output_of("squeue", "--noheader") == ""
