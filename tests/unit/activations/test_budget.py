"""The dimension budget: what is projected, on which axes, and how few are enough."""

import os

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from helpers.models import tiny_bert, tiny_llama
from shapesweep import cli
from shapesweep.activations import budget, losses
from shapesweep.activations.budget import principal_axes, relative_rise, smallest
from shapesweep.checkpoint import load
from shapesweep.checkpoint.hidden_states import find_anatomy
from shapesweep.config import files
from shapesweep.config.measurement import as_yaml
from shapesweep.config.sweep import Steps
from shapesweep.errors import CheckpointError
from shapesweep.manifest import checkpoints
from shapesweep.manifest.selection import Listed, budgeted
from shapesweep.storage import manifests, schemas, tables
from shapesweep.storage.manifests import Checkpoint

CHECKPOINT = Checkpoint("s", "r", "main", seed=0, step=7)


@pytest.fixture
def reader(tmp_path, make_checkpoint, build_corpora, tokenizers, settings):
    """A function from a family to a model, what reads it, and its corpus."""

    def make(family="decoder"):
        folder = tmp_path / family
        make_checkpoint(folder, family)
        model = load.load(folder)
        text, *_ = build_corpora(tokenizers[family])
        anatomy = find_anatomy(model, text.documents[0])
        mask = tokenizers[family].mask_token_id
        reader = budget._Reader(model, anatomy, text, settings.measurement("s"), mask)
        return model, reader, text

    with torch.inference_mode():
        yield make


def measure(folder, settings):
    return budget.measure(CHECKPOINT, folder, settings.measurement("s"), folder, 0.01)


def test_bisection_finds_what_counting_finds():
    for n in (1, 2, 7, 96):
        for first in range(n + 1):
            assert smallest(lambda k, first=first: k >= first, n) == first


@given(st.lists(st.booleans(), min_size=1, max_size=30))
def test_bisection_ends_where_it_begins_to_hold(holds):
    holds = [*holds, True]
    found = smallest(lambda k: holds[k], len(holds) - 1)
    assert holds[found]
    assert found == 0 or not holds[found - 1]


def test_the_axes_are_numpys():
    points = np.random.default_rng(0).standard_normal((200, 5)) * [5, 4, 3, 2, 1] + 7
    mean, axes = principal_axes(points)
    _, _, theirs = np.linalg.svd(points - points.mean(axis=0))
    np.testing.assert_allclose(mean, points.mean(axis=0))
    np.testing.assert_allclose(np.abs(axes.T @ theirs.T), np.eye(5), atol=1e-6)


def test_a_rise_is_paired():
    full = np.array([1.0, 2.0, 3.0])
    rise, half = relative_rise(2.2, 1.1 * full, 2.0, full)
    assert rise == pytest.approx(0.1)
    # What the documents do to the loss, they do to both.
    assert half == pytest.approx(0, abs=1e-9)


@pytest.mark.parametrize("family", ["decoder", "encoder"])
def test_all_axes_change_no_loss_and_none_changes_it_much(reader, family):
    _, one, _ = reader(family)
    for layer in range(3):
        halves = [one.axes(layer, half) for half in (0, 1)]
        whole = one.projected(layer, halves, 16)
        # In float32, a state of 16 numbers turned there and back.
        np.testing.assert_allclose(whole, one.full, rtol=1e-4)
        assert np.abs(one.projected(layer, halves, 1) - one.full).max() > 1e-3


def test_a_projection_is_what_the_rest_of_the_model_makes_of_the_projected_states(reader):
    model, one, text = reader()
    batch = torch.from_numpy(np.stack(text.documents))
    mean, axes = one.axes(2, 0)
    states = model(batch, output_hidden_states=True).hidden_states[2]
    changed = states.clone()
    changed[:, 1:] = mean + (states[:, 1:] - mean) @ axes[:, :3] @ axes[:, :3].T
    # By hand through the last of three blocks, its norm and head.
    places = torch.arange(batch.shape[1])[None]
    rotary = model.model.rotary_emb(changed, places)
    behind = model.model.layers[2](changed, position_embeddings=rotary, position_ids=places)
    behind = behind[0] if isinstance(behind, tuple) else behind
    logits = model.lm_head(model.model.norm(behind))
    expected = losses.next_token(logits, batch)
    made = one.projected(2, [(mean, axes), (mean, axes)], 3)
    np.testing.assert_allclose(made, expected, rtol=1e-5)


def test_the_first_token_is_left_as_it_is(reader):
    _, one, text = reader()
    states = torch.randn(2, len(text.documents[0]), 16)
    mean, axes = one.axes(1, 0)
    made = one._projection(mean, axes[:, :0])(states)
    assert torch.equal(made[:, 0], states[:, 0])
    assert torch.allclose(made[:, 1:], mean.expand_as(made[:, 1:]))


def test_axes_come_from_other_documents(reader, monkeypatch):
    _, one, _ = reader()
    seen = []
    read = one._read
    monkeypatch.setattr(one, "_read", lambda n, *rest: seen.append(set(n)) or read(n, *rest))
    halves = [one.axes(1, half) for half in (0, 1)]
    one.projected(1, halves, 2)
    fitted, evaluated = seen[:2], seen[2:]
    assert all(not fit & read for fit, read in zip(fitted, evaluated, strict=True))
    assert evaluated[0] | evaluated[1] == set(range(16))


def test_states_of_few_dimensions_need_no_more(tmp_path, make_checkpoint, settings):
    model = make_checkpoint(tmp_path / "m", config=tiny_llama(tie_word_embeddings=False))
    with torch.no_grad():
        # Embeddings in three dimensions, and blocks that add nothing.
        weight = model.model.embed_tokens.weight
        weight[:, 3:] = 0
        weight[:, :3] *= 50
        for block in model.model.layers:
            block.self_attn.o_proj.weight.zero_()
            block.mlp.down_proj.weight.zero_()
    model.save_pretrained(tmp_path / "m")
    rows = measure(tmp_path / "m", settings)
    assert [one["layer"] for one in rows] == [0, 1, 2, 3]
    assert all(one["k_low"] <= one["k"] <= one["k_high"] <= 3 for one in rows)
    assert all(one["rise"] <= 0.01 for one in rows)


def test_what_has_no_loss_has_no_budget(reader, tokenizers, settings, build_corpora):
    model, _, text = reader("encoder")
    anatomy = find_anatomy(model, text.documents[0])
    with pytest.raises(CheckpointError, match="has no loss"):
        budget._Reader(model, anatomy, text, settings.measurement("s"), None)


def test_a_model_without_a_head_has_no_budget(tmp_path, tokenizers, settings):
    import transformers

    shape = {"vocab_size": 300, "n_embd": 16, "n_layer": 2, "n_head": 2, "n_positions": 64}
    transformers.GPT2Model(transformers.GPT2Config(**shape)).save_pretrained(tmp_path / "m")
    tokenizers["decoder"].save_pretrained(tmp_path / "m")
    with pytest.raises(CheckpointError, match="no head"):
        measure(tmp_path / "m", settings)


@pytest.mark.parametrize(
    ("rule", "steps"),
    [("last", [100]), (None, []), ("all", [0, 100]), (Steps(steps=[0, 5]), [0])],
)
def test_a_budget_is_asked_of_chosen_checkpoints(rule, steps):
    listed = [Listed("r", f"step{step}", step, "") for step in (0, 100)]
    assert [one.step for one in budgeted(listed, rule)] == steps


def test_axes_of_fewer_tokens_than_they_have_room_for_are_flagged(
    tmp_path, make_checkpoint, settings
):
    make_checkpoint(tmp_path / "m")
    corpus = settings.corpus.model_copy(update={"documents": 4, "length": 8})
    few = settings.model_copy(update={"corpus": corpus})
    # Twice 7 tokens a half, of 16 features.
    assert {one["flag"] for one in measure(tmp_path / "m", few)} == {"undersampled"}


@pytest.mark.parametrize(
    ("change", "n_transient", "n_rows"), [(None, 0, 4), ("time", 1, 0), ("weights", 0, 0)]
)
def test_the_table_of_a_budget_tells_whether_to_try_again(
    tmp_path, make_checkpoint, settings, change, n_transient, n_rows
):
    folder, manifest = tmp_path / "run/checkpoint-1", tmp_path / "manifest.parquet"
    make_checkpoint(folder)
    if change == "weights":
        (folder / "model.safetensors").write_bytes(b"")
    suite = {"source": "local", "runs": {"r": str(tmp_path / "run")}}
    suite = files.validate({"suites": {"s": suite}}).suites["s"]
    listed = checkpoints.list_checkpoints("s", suite, tmp_path)
    manifests.write(checkpoints.describe("s", suite, listed, "all"), manifest)
    if change == "time":
        os.utime(folder / "config.json", ns=(0, 0))
    written = tmp_path / "settings.yaml"
    written.write_text(as_yaml(settings.measurement("s")), encoding="utf-8")
    words = ["--settings", written, "--manifest", manifest, "--run", "r", "--device", "cpu"]
    words += ["--revision", "checkpoint-1", "--rise", "0.01", "--threads", "1"]
    assert cli.main(["budget", *map(str, words), "--out", str(tmp_path / "budget.parquet")]) == 0
    assert len(tables.read(tmp_path / "budget.parquet", schemas.BUDGETS)) == n_rows
    metadata = tables.read_metadata(tmp_path / "budget.parquet")
    assert metadata["transient"] == n_transient
    assert bool(metadata["failure"]) == (change is not None)


def test_the_mask_is_the_same_for_every_checkpoint(build_corpora, tokenizers):
    text, *_ = build_corpora(tokenizers["encoder"])
    one, two = losses.masks(text, 0), losses.masks(text, 0)
    assert all(np.array_equal(a, b) for a, b in zip(one, two, strict=True))
    assert not any(mask[0] or mask[-1] for mask in one)
    assert tiny_bert().model_type == "bert"
