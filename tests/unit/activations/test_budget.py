"""The dimension budget uses the right axes, and finds the smallest sufficient number of axes."""

import os

import numpy as np
import pytest
import torch
import transformers
from hypothesis import given
from hypothesis import strategies as st

from helpers.models import tiny_llama
from helpers.shards import checkpoint_of
from shapesweep import cli
from shapesweep.activations import budget, losses
from shapesweep.activations.budget import principal_axes, relative_rise, smallest
from shapesweep.checkpoint import load
from shapesweep.checkpoint.hidden_states import find_anatomy
from shapesweep.config.measurement import as_yaml
from shapesweep.config.sweep import Steps
from shapesweep.errors import CheckpointError
from shapesweep.manifest.selection import Listed, budgeted
from shapesweep.storage import manifests, schemas, tables
from shapesweep.storage.manifests import Checkpoint

CHECKPOINT = Checkpoint("s", "r", "main", seed=0, step=7)


@pytest.fixture
def make_reader(tmp_path, make_checkpoint, build_corpora, tokenizers, settings):
    """A function that returns a model of a family, a reader of this model, and the corpus."""

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


@pytest.mark.parametrize("kind", ["XLM", "Flaubert"])
def test_embedding_that_cannot_be_changed_is_refused(kind, build_corpora, tokenizers, settings):
    shape = {"vocab_size": 300, "emb_dim": 16, "n_layers": 2, "n_heads": 2}
    config = getattr(transformers, f"{kind}Config")(**shape, max_position_embeddings=64)
    model = getattr(transformers, f"{kind}WithLMHeadModel")(config).eval()
    text, *_ = build_corpora(tokenizers["encoder"])
    with torch.inference_mode():
        anatomy = find_anatomy(model, text.documents[0])
        mask = tokenizers["encoder"].mask_token_id
        with pytest.raises(CheckpointError, match="the states of its embedding cannot be changed"):
            budget._Reader(model, anatomy, text, settings.measurement("s"), mask)


def test_model_of_width_1_has_a_budget(tmp_path, make_checkpoint, settings):
    config = tiny_llama(hidden_size=1, num_attention_heads=1, num_key_value_heads=1, head_dim=2)
    make_checkpoint(tmp_path, config=config)
    assert {row["k"] for row in measure(tmp_path, settings)} <= {0, 1}


@given(st.lists(st.booleans(), min_size=1, max_size=96))
def test_bisection_ends_at_a_change_to_true(holds):
    holds = [*holds, True]
    found = smallest(lambda k: holds[k], len(holds) - 1)
    assert holds[found]
    assert found == 0 or not holds[found - 1]


def test_axes_match_numpy():
    points = np.random.default_rng(0).standard_normal((200, 5)) * [5, 4, 3, 2, 1] + 7
    mean, axes = principal_axes(points)
    _, _, expected = np.linalg.svd(points - points.mean(axis=0))
    np.testing.assert_allclose(mean, points.mean(axis=0))
    np.testing.assert_allclose(np.abs(axes.T @ expected.T), np.eye(5), atol=1e-6)


def test_rise_is_paired_by_document():
    full = np.array([1.0, 2.0, 3.0])
    rise, half = relative_rise(2.2, 1.1 * full, 2.0, full)
    assert rise == pytest.approx(0.1)
    # Whichever group of documents is left out, the projection raises the loss by the same 10 %.
    assert half == pytest.approx(0, abs=1e-9)


@pytest.mark.parametrize("family", ["decoder", "encoder"])
def test_all_axes_keep_the_loss_and_one_axis_does_not(make_reader, family):
    _, reader, _ = make_reader(family)
    for layer in range(3):
        halves = [reader.axes(layer, half) for half in (0, 1)]
        whole = reader.projected(layer, halves, 16)
        # Each of the 16 float32 values of a state is rounded when the state is rotated to the axes
        # and back.
        np.testing.assert_allclose(whole, reader.full, rtol=1e-4)
        assert np.abs(reader.projected(layer, halves, 1) - reader.full).max() > 1e-3


def test_loss_of_a_projection_matches_a_forward_pass_by_hand(make_reader):
    model, reader, text = make_reader()
    batch = torch.from_numpy(np.stack(text.documents))
    mean, axes = reader.axes(2, 0)
    states = model(batch, output_hidden_states=True).hidden_states[2]
    changed = states.clone()
    changed[:, 1:] = mean + (states[:, 1:] - mean) @ axes[:, :3] @ axes[:, :3].T
    # Compute the expected losses directly, with the last of three blocks, the norm and the head.
    positions = torch.arange(batch.shape[1])[None]
    rotary = model.model.rotary_emb(changed, positions)
    output = model.model.layers[2](changed, position_embeddings=rotary, position_ids=positions)
    output = output[0] if isinstance(output, tuple) else output
    logits = model.lm_head(model.model.norm(output))
    expected = losses.next_token(logits, batch)
    found = reader.projected(2, [(mean, axes), (mean, axes)], 3)
    np.testing.assert_allclose(found, expected, rtol=1e-5)


def test_first_token_is_not_projected(make_reader):
    _, reader, text = make_reader()
    states = torch.randn(2, len(text.documents[0]), 16)
    mean, axes = reader.axes(1, 0)
    projected = reader._projected(mean, axes[:, :0], states)
    assert torch.equal(projected[:, 0], states[:, 0])
    assert torch.allclose(projected[:, 1:], mean.expand_as(projected[:, 1:]))


def test_axes_are_fitted_on_other_documents(make_reader, monkeypatch):
    _, reader, _ = make_reader()
    seen = []
    read = reader._read
    monkeypatch.setattr(reader, "_read", lambda n, *rest: seen.append(set(n)) or read(n, *rest))
    halves = [reader.axes(1, half) for half in (0, 1)]
    reader.projected(1, halves, 2)
    fitted, evaluated = seen[:2], seen[2:]
    assert all(not fit & read for fit, read in zip(fitted, evaluated, strict=True))
    assert evaluated[0] | evaluated[1] == set(range(16))


def test_states_of_three_dimensions_need_at_most_three_axes(tmp_path, make_checkpoint, settings):
    model = make_checkpoint(tmp_path / "m", config=tiny_llama(tie_word_embeddings=False))
    with torch.no_grad():
        # The embeddings have three dimensions, and the blocks add nothing.
        weight = model.model.embed_tokens.weight
        weight[:, 3:] = 0
        weight[:, :3] *= 50
        for block in model.model.layers:
            block.self_attn.o_proj.weight.zero_()
            block.mlp.down_proj.weight.zero_()
    model.save_pretrained(tmp_path / "m")
    rows = measure(tmp_path / "m", settings)
    assert [row["layer"] for row in rows] == [0, 1, 2, 3]
    assert all(row["k_low"] <= row["k"] <= row["k_high"] <= 3 for row in rows)
    assert all(row["rise"] <= 0.01 for row in rows)


def test_encoder_without_mask_token_has_no_budget(make_reader, tokenizers, settings, build_corpora):
    model, _, text = make_reader("encoder")
    anatomy = find_anatomy(model, text.documents[0])
    with pytest.raises(CheckpointError, match="has no loss"):
        budget._Reader(model, anatomy, text, settings.measurement("s"), None)


def test_model_without_a_head_has_no_budget(tmp_path, tokenizers, settings):
    shape = {"vocab_size": 300, "n_embd": 16, "n_layer": 2, "n_head": 2, "n_positions": 64}
    transformers.GPT2Model(transformers.GPT2Config(**shape)).save_pretrained(tmp_path / "m")
    tokenizers["decoder"].save_pretrained(tmp_path / "m")
    with pytest.raises(CheckpointError, match="no head"):
        measure(tmp_path / "m", settings)


@pytest.mark.parametrize(
    ("rule", "steps"),
    [("last", [100]), (None, []), ("all", [0, 100]), (Steps(steps=[0, 5]), [0])],
)
def test_budget_rule_selects_checkpoints(rule, steps):
    listed = [Listed("r", f"step{step}", step, "") for step in (0, 100)]
    assert [checkpoint.step for checkpoint in budgeted(listed, rule)] == steps


def test_axes_of_fewer_tokens_than_features_are_flagged(tmp_path, make_checkpoint, settings):
    make_checkpoint(tmp_path / "m")
    corpus = settings.corpus.model_copy(update={"documents": 4, "length": 8})
    few = settings.model_copy(update={"corpus": corpus})
    # Each half of the corpus has 2 · 7 tokens, which are fewer than the 16 features.
    assert {row["flag"] for row in measure(tmp_path / "m", few)} == {"undersampled"}


@pytest.mark.parametrize(
    ("change", "n_transient", "n_rows"), [(None, 0, 4), ("time", 1, 0), ("weights", 0, 0)]
)
def test_table_of_a_budget_records_transient_failures(
    tmp_path, make_checkpoint, settings, change, n_transient, n_rows
):
    folder, manifest, out = (tmp_path / name for name in ("run", "m.parquet", "budget.parquet"))
    make_checkpoint(folder)
    if change == "weights":
        (folder / "model.safetensors").write_bytes(b"")
    manifests.write([checkpoint_of(folder)], manifest)
    if change == "time":
        os.utime(folder / "config.json", ns=(0, 0))
    written = tmp_path / "settings.yaml"
    written.write_text(as_yaml(settings.measurement("s")), encoding="utf-8")
    arguments = ["--settings", written, "--manifest", manifest, "--run", "run", "--device", "cpu"]
    arguments += ["--revision", "main", "--rise", "0.01", "--threads", "1", "--out", out]
    assert cli.main(["budget", *map(str, arguments)]) == 0
    assert len(tables.read(out, schemas.BUDGETS)) == n_rows
    metadata = tables.read_metadata(out)
    assert metadata["transient"] == n_transient
    assert bool(metadata["failure"]) == (change is not None)


def test_mask_is_the_same_for_every_checkpoint(build_corpora, tokenizers):
    text, *_ = build_corpora(tokenizers["encoder"])
    first, second = losses.masks(text, 0), losses.masks(text, 0)
    assert all(np.array_equal(a, b) for a, b in zip(first, second, strict=True))
    assert not any(mask[0] or mask[-1] for mask in first)
