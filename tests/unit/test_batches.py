"""Batches: neighbours together, what is asked for alone alone, and marks that are true."""

import os
import re
from pathlib import Path

import pytest

from shapesweep import batches, config, costs, manifest
from shapesweep.costs import Model
from shapesweep.files import File
from shapesweep.manifest import Listed
from shapesweep.publication import Published

HUB = {"source": "hub", "mode": "branches", "match": "x", "repositories": ["o/a"]}
#: Pythia-70m's shape: a checkpoint of it is measured in some minutes.
SMALL = {"hidden_size": 512, "num_hidden_layers": 6, "vocab_size": 50304}
LARGE = {"hidden_size": 4096, "num_hidden_layers": 32, "vocab_size": 50304}


def settings(**more):
    return config.validate({"suites": {"s": HUB}, "budget": {"checkpoints": {}}, **more})


def published(step, shape=SMALL, n_bytes=10**8, run="r"):
    files = (File("model.safetensors", n_bytes, "a", "b"),)
    found = Published(run, f"step{step}", "o/a", f"c{step}", files=files, config=shape)
    return Listed(run, f"step{step}", step, Path("x"), published=found)


def cut(chosen, **more):
    chosen_settings = settings(**more)
    return batches.cut("s", chosen_settings.suites["s"], chosen, chosen_settings)


def test_neighbours_go_together_in_equal_numbers():
    found = cut([published(n) for n in range(10)], checkpoints_per_job=4)
    assert [one.name for one in found] == ["step0+3", "step4+3", "step8+1"]
    assert [revision for one in found for revision in one.revisions] == [
        f"step{n}" for n in range(10)
    ]
    assert [
        len(b.members) for b in cut([published(n) for n in range(9)], checkpoints_per_job=4)
    ] == [
        3,
        3,
        3,
    ]


def test_runs_are_never_mixed():
    found = cut([published(0), published(0, run="q"), published(1)], checkpoints_per_job=8)
    assert [(one.run, one.name) for one in found] == [("r", "step0+1"), ("q", "step0")]


def test_small_checkpoints_go_together_and_large_ones_alone():
    assert max(len(one.members) for one in cut([published(n) for n in range(99)])) > 1
    alone = cut([published(n, LARGE, 10**10) for n in range(9)])
    assert [len(one.members) for one in alone] == [1] * 9


def test_what_is_asked_for_alone_goes_alone():
    chosen = [published(n) for n in range(5)]
    found = cut(chosen, checkpoints_per_job=8, budget={"checkpoints": {"s": "last"}})
    assert [one.name for one in found] == ["step4", "step0+3"]
    kept = cut(chosen, checkpoints_per_job=8, keep_activations=True)
    assert [one.name for one in kept] == [one.revision for one in chosen]


def test_a_batch_fits_the_disk_beside_those_that_are_downloaded_and_measured():
    chosen, hub = [published(n) for n in range(64)], {"disk_gb": 4, "downloads": 2}
    found = cut(chosen, checkpoints_per_job=64, hub=hub)
    one = costs.footprint(Model.published(chosen[0]), settings(hub=hub))
    assert max(len(b.members) for b in found) * one <= 1e9 < (len(found[0].members) + 1) * one


def test_a_batchs_name_is_no_revision_and_safe_in_a_path():
    name = cut([published(0), published(1)], checkpoints_per_job=2)[0].name
    assert re.fullmatch(batches.BATCH, name)
    assert not re.match(manifest.NAME, name)
    for bad in ("../a", "a+0", "a+1+1", "a b", "+1", "a/b"):
        assert not re.fullmatch(batches.BATCH, bad)


def test_of_several_each_has_a_folder():
    assert batches.place("out", ["a"], "a") == Path("out")
    assert batches.place("out", ["a", "b"], "b") == Path("out/b")


@pytest.fixture
def local(tmp_path, make_checkpoint, text_file):
    """A checkpoint in a folder, and what its state is."""
    make_checkpoint(tmp_path / "run/checkpoint-1")
    raw = {
        "suites": {"s": {"source": "local", "runs": {"r": str(tmp_path / "run")}}},
        "corpus": {"text": str(text_file), "documents": 16, "length": 24},
        "corpora": ["text"],
    }

    def state(**more):
        chosen = config.validate({**raw, **more})
        (one,) = manifest.list_checkpoints("s", chosen.suites["s"], "results")
        return batches.state(chosen.suites["s"], one, chosen)

    return state


def test_a_state_changes_with_what_the_shards_depend_on_and_nothing_else(local, tmp_path):
    before = local()
    assert local(geometry={"n_points": 99}, keep_activations=True) == before
    assert local(corpora=["text", "random"]) != before
    weights = tmp_path / "run/checkpoint-1/model.safetensors"
    times = weights.stat()
    os.utime(weights, ns=(times.st_atime_ns, times.st_mtime_ns - 10**9))
    assert local() != before


def test_a_mark_is_true_of_what_it_was_written_for(tmp_path):
    states, mark = {"a": "1", "b": "2"}, tmp_path / "s/r/a+1.json"
    assert not batches.is_true(mark, batches.key(states, settings()))
    batches.write_mark(mark, batches.key(states, settings()), list(states))
    assert batches.is_true(mark, batches.key(states, settings()))
    assert not batches.is_true(mark, batches.key({**states, "b": "3"}, settings()))
    fewer = settings(geometry={"n_points": 99})
    assert not batches.is_true(mark, batches.key(states, fewer))
    for damaged in ("", "{", "[]", '"key"', '{"key": null}'):
        mark.write_text(damaged, encoding="utf-8")
        assert not batches.is_true(mark, batches.key(states, settings()))
