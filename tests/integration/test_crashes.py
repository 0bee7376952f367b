"""A checkpoint that ends the process of its job never costs the other checkpoints."""

import json

import pytest

from helpers.hub_suites import NEOX, files
from helpers.models import tiny_llama, trajectory
from helpers.workflow import complete, read, settings, submitting, sweep, write

#: A model that ends the process if the configuration names a signal.
CODE = b"""
import os
import signal

import transformers


class OwnForCausalLM(transformers.LlamaForCausalLM):
    def forward(self, *arguments, **named):
        if self.config.crash:
            os.kill(os.getpid(), getattr(signal, self.config.crash))
        return super().forward(*arguments, **named)
"""
CRASHES = {0: None, 1: "SIGKILL", 2: "SIGSEGV", 3: None}
KILLED = "out of memory: the process was killed (SIGKILL), probably because memory ran out"


@pytest.fixture
def crashing(standin, tmp_path, text_file, tokenizers):
    """A folder with a sweep of one run, whose code ends the process at two steps."""
    publish(standin, tmp_path, tokenizers["decoder"], CRASHES)
    write(tmp_path, configuration(text_file, checkpoints_per_job=4))
    return tmp_path


def configuration(text_file, **more):
    suite = {**NEOX, "remote_code": True}
    hub = {"remote_code": ["own"], **more.pop("hub", {})}
    return settings(text_file, suites={"own": suite}, corpora=["text"], hub=hub, **more)


def publish(standin, tmp_path, tokenizer, crashes):
    """Publish a checkpoint for each step, which ends the process by the signal of this step."""
    tokenizer = files(tokenizer, tmp_path / "t")
    for step, model in trajectory(tiny_llama(), crashes):
        contents = files(model, tmp_path / "m") | tokenizer
        config = json.loads(contents["config.json"]) | {"crash": crashes[step]}
        config |= {"architectures": ["OwnForCausalLM"]}
        config |= {"auto_map": {"AutoModelForCausalLM": "modeling_own.OwnForCausalLM"}}
        contents |= {"config.json": json.dumps(config).encode(), "modeling_own.py": CODE}
        standin.add("Org/neox", f"step{step}", contents)


def test_checkpoints_that_end_the_process_are_failures(crashing):
    complete(crashing, "--workflow-profile", "none", cold=True)
    failures = read(crashing, "failures").set_index("step")
    failures = failures[failures.revision != "main"]
    assert failures.reason.to_dict() == {1: KILLED, 2: "the process crashed (SIGSEGV)"}
    assert failures.transient.to_dict() == {1: True, 2: False}
    assert failures.unexpected.to_dict() == {1: False, 2: True}
    assert set(read(crashing, "geometry").step) == {0, 3}
    assert (crashing / "results/report.html").is_file()
    assert not list((crashing / "results").rglob(".*.partial")), "left behind"


@pytest.mark.parametrize("is_cluster", [False, True])
def test_a_killed_job_is_repeated_with_more_memory_first(crashing, is_cluster):
    more = submitting(crashing) if is_cluster else []
    done = sweep(crashing, "numbers", *more, "--retries", "1", cold=True)
    assert done.returncode == 0, done.stdout
    assert f"{KILLED}; the job will be repeated with more memory" in done.stdout
    failures = read(crashing, "failures").set_index("step")
    assert failures.reason[1] == KILLED
    assert set(read(crashing, "geometry").step) == {0, 3}


def test_crashed_checkpoints_have_a_record_in_place_of_kept_activations(crashing, text_file):
    write(crashing, configuration(text_file, checkpoints_per_job=1, keep_activations=True))
    complete(crashing, "numbers", cold=True)
    reasons = {
        path.parents[1].name: json.loads(path.read_bytes())["reason"]
        for path in (crashing / "results/activations").rglob("failed.json")
    }
    assert reasons == {"step1": KILLED, "step2": "the process crashed (SIGSEGV)"}
    assert set(read(crashing, "geometry").step) == {0, 3}
    assert not list((crashing / "results").rglob(".*.partial")), "left behind"


def test_other_downloads_do_not_remove_the_files_of_a_job_that_starts_again(
    standin, tmp_path, text_file, tokenizers
):
    crashes = {step: None if step % 2 else "SIGSEGV" for step in range(6)}
    publish(standin, tmp_path, tokenizers["decoder"], crashes)
    # There is room for few checkpoints, so downloads wait for the files of others to be removed.
    hub = {"disk_gb": 0.002, "downloads": 2}
    write(tmp_path, configuration(text_file, checkpoints_per_job=1, hub=hub))
    complete(tmp_path, "numbers", cold=True)
    failures = read(tmp_path, "failures")
    failures = failures[failures.revision != "main"].set_index("step")
    assert failures.reason.to_dict() == dict.fromkeys((0, 2, 4), "the process crashed (SIGSEGV)")
