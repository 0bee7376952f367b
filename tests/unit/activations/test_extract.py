"""Extraction of activations: every row of a shard equals the output of the model."""

import errno
import hashlib
import json
import os
import shutil
from pathlib import Path
from unittest.mock import Mock

import numpy as np
import pytest
import torch
import transformers

from helpers.models import tiny_llama
from helpers.shards import FINGERPRINT, checkpoint_of, extract
from shapesweep import corpora
from shapesweep.checkpoint import weight_sample
from shapesweep.corpora import read_text
from shapesweep.geometry import checkpoint
from shapesweep.geometry.measured import Measured
from shapesweep.storage import failures, schemas, tables
from shapesweep.storage.shards import ORIGINS, read_shard


@pytest.fixture
def model_folder(tmp_path):
    return tmp_path / "model"


@pytest.fixture
def out(tmp_path):
    return tmp_path / "out"


@pytest.fixture
def run(model_folder, out, settings):
    """A function that extracts the activations of the model, and returns the line for the log."""

    def run(settings=settings, checkpoint=None, out=out, measured=None):
        checkpoint = checkpoint or checkpoint_of(model_folder)
        return extract(checkpoint, model_folder, settings, out, measured)

    return run


def shards(out, name):
    found = [read_shard(path) for path in sorted((out / name).glob("layer-*.parquet"))]
    return {(s.metadata["layer"], s.metadata["layer_kind"]): s for s in found}


@pytest.mark.parametrize("family", ["decoder", "encoder"])
def test_shards_equal_the_hidden_states_of_the_model(
    family, model_folder, out, run, make_checkpoint, settings, tokenizers, build_corpora
):
    model = make_checkpoint(model_folder, family)
    assert run() == "s/run/main: extracted text, random, shuffled"
    for corpus in build_corpora(tokenizers[family]):
        found = shards(out, corpus.name)
        for numbers in corpus.batches(settings.batch_tokens):
            batch = torch.from_numpy(np.stack([corpus.documents[n] for n in numbers]))
            with torch.no_grad():
                states = model(batch, output_hidden_states=True).hidden_states
            for layer, state in enumerate(states):
                last = layer == len(states) - 1
                kind = "embedding" if layer == 0 else "block"
                kind = "final_norm" if last and family == "decoder" else kind
                shard = found[layer, kind]
                rows = np.isin(shard.document, list(numbers))
                # The values are bit-identical, because the batch and the weights are the same.
                np.testing.assert_array_equal(
                    shard.activation[rows], state.reshape(-1, state.shape[-1]).numpy()
                )
                np.testing.assert_array_equal(shard.token[rows], batch.reshape(-1).numpy())
                assert shard.position[rows].tolist() == [*range(24)] * len(numbers)


def test_last_block_is_stored_before_the_final_norm(model_folder, out, run, make_checkpoint):
    model = make_checkpoint(model_folder)
    run()
    found = shards(out, "text")
    blocks = [(n, "block") for n in (1, 2, 3)]
    assert sorted(found) == [(0, "embedding"), *blocks, (3, "final_norm")]
    before = torch.from_numpy(found[3, "block"].activation.copy())
    with torch.no_grad():
        after = model.model.norm(before).numpy()
    # The norm of 16 float32 values is rounded differently if the batch has another shape.
    np.testing.assert_allclose(after, found[3, "final_norm"].activation, rtol=1e-5, atol=1e-6)


def test_loss_of_a_decoder_matches_transformers(
    model_folder, out, run, make_checkpoint, tokenizers, build_corpora
):
    model = make_checkpoint(model_folder)
    run()
    losses = tables.read(out / "losses.parquet", schemas.OF_CHECKPOINT["losses"]).set_index(
        "corpus"
    )
    for corpus in build_corpora(tokenizers["decoder"]):
        batch = torch.from_numpy(np.stack(corpus.documents))
        with torch.no_grad():
            expected = model(batch, labels=batch).loss.item()
        # Both losses are means of about 370 float32 values, but the values are summed in different
        # orders.
        assert losses.value[corpus.name] == pytest.approx(expected, rel=1e-5)
        assert 0 < losses.stderr[corpus.name] < 1


def test_loss_of_an_encoder_uses_a_fixed_mask(model_folder, out, run, make_checkpoint):
    make_checkpoint(model_folder, "encoder")
    values = []
    for name in ("a", "b"):
        run(out=out / name)
        values.append(
            tables.read(out / name / "losses.parquet", schemas.OF_CHECKPOINT["losses"]).value
        )
    assert values[0].tolist() == values[1].tolist()
    # A uniform distribution has a loss of ln(300) = 5.70. Small random weights change this loss
    # only slightly.
    np.testing.assert_allclose(values[0], np.log(300), atol=0.5)


def test_encoder_with_two_heads_has_a_loss(model_folder, out, run, make_checkpoint):
    make_checkpoint(model_folder, "encoder")
    config = transformers.BertConfig.from_pretrained(model_folder)
    transformers.BertForPreTraining(config).save_pretrained(model_folder)
    assert checkpoint_of(model_folder).architecture == "BertForPreTraining"
    run()
    assert len(tables.read(out / "losses.parquet", schemas.OF_CHECKPOINT["losses"])) == 3


@pytest.mark.parametrize(
    "model_class",
    [transformers.LlamaForSequenceClassification, transformers.LlamaForTokenClassification],
)
def test_reward_model_without_padding_is_measured_and_has_no_loss(
    model_folder, out, run, make_checkpoint, model_class
):
    make_checkpoint(model_folder, config=tiny_llama(pad_token_id=None))
    model_class(tiny_llama(pad_token_id=None)).save_pretrained(model_folder)
    assert "extracted text" in run()
    assert not len(tables.read(out / "losses.parquet", schemas.OF_CHECKPOINT["losses"]))


def test_missing_head_means_no_loss(model_folder, out, run, make_checkpoint):
    make_checkpoint(model_folder, "encoder")
    config = transformers.BertConfig.from_pretrained(model_folder)
    transformers.BertModel(config).save_pretrained(model_folder)
    config.architectures = ["BertForMaskedLM"]
    config.save_pretrained(model_folder)
    assert "extracted text" in run()
    assert not len(tables.read(out / "losses.parquet", schemas.OF_CHECKPOINT["losses"]))
    samples = tables.read(out / "samples.parquet", schemas.SAMPLES)
    assert np.isfinite(samples.value).all()


def test_damaged_checkpoint_is_recorded_without_an_error(model_folder, out, run, make_checkpoint):
    make_checkpoint(model_folder)
    path = model_folder / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-8])
    assert run() == "s/run/main: skipped: damaged:model.safetensors"
    assert [path.name for path in out.iterdir()] == ["failed.json"]


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ("size", "config.json differs from the manifest"),
        ("time", "config.json differs from the manifest"),
        ("absent", "config.json is missing"),
        ("folder", "the folder no longer exists"),
    ],
)
def test_files_that_differ_from_the_manifest_are_a_transient_failure(
    model_folder, out, run, make_checkpoint, change, reason
):
    make_checkpoint(model_folder)
    checkpoint = checkpoint_of(model_folder)
    path = model_folder / "config.json"
    before = path.stat()
    if change == "size":
        path.write_text(path.read_text(encoding="utf-8") + " ", encoding="utf-8")
        os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    elif change == "time":
        os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns - 1))
    elif change == "absent":
        path.unlink()
    else:
        shutil.rmtree(path.parent)
    line = run(checkpoint=checkpoint)
    assert line.startswith("s/run/main: skipped: ")
    assert reason in line
    assert failures.is_transient(out)


def test_sample_of_the_weights_is_written_with_its_revision(
    model_folder, out, run, make_checkpoint
):
    model = make_checkpoint(model_folder)
    run()
    path = out / "samples.parquet"
    found = tables.read(path, schemas.SAMPLES)
    assert set(found.revision) == {"main"}
    for kind, values in weight_sample.sample(model).items():
        np.testing.assert_array_equal(found.value[found.tensor_class == kind], values)
    assert tables.read_metadata(path) == {"vocabulary": 300}


def test_activations_that_are_not_finite_are_reported(model_folder, run, make_checkpoint):
    model = make_checkpoint(model_folder)
    with torch.no_grad():
        model.model.layers[1].mlp.down_proj.weight.fill_(3e38)
        model.model.layers[1].mlp.up_proj.weight.fill_(100)
    model.save_pretrained(model_folder)
    assert run().endswith("skipped: layer 2 (block) has infinite or NaN values on the corpus text")


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (MemoryError(), "out of memory: the checkpoint does not fit"),
        (torch.OutOfMemoryError("CUDA out of memory."), "out of GPU memory: CUDA out of memory."),
        (RuntimeError("can't allocate memory: you tried"), "out of memory: can't allocate memory"),
        (OSError(errno.EIO, "Input/output error"), "OSError: [Errno 5] Input/output error"),
    ],
)
def test_failure_that_may_pass_is_transient(
    model_folder, out, run, make_checkpoint, monkeypatch, error, message
):
    make_checkpoint(model_folder)
    monkeypatch.setattr(weight_sample, "sample", Mock(side_effect=error))
    assert f"skipped: {message}" in run()
    assert failures.recorded(out)["transient"]


@pytest.mark.parametrize(
    "error",
    [KeyboardInterrupt(), OSError(errno.ENOSPC, "No space left on device")],
)
def test_interruption_and_a_full_disk_are_no_failure_of_the_checkpoint(
    model_folder, out, run, make_checkpoint, monkeypatch, error
):
    make_checkpoint(model_folder)
    monkeypatch.setattr(weight_sample, "sample", Mock(side_effect=error))
    with pytest.raises(type(error)):
        run()
    assert not out.exists()


@pytest.mark.parametrize("error", [AttributeError("no shape"), SystemExit(3), ZeroDivisionError()])
def test_unexpected_error_is_recorded_with_its_class_and_logged(
    model_folder, out, run, make_checkpoint, monkeypatch, capsys, error
):
    make_checkpoint(model_folder)
    monkeypatch.setattr(weight_sample, "sample", Mock(side_effect=error))
    message = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
    assert run().endswith(f"skipped: {message}")
    failure = failures.recorded(out)
    assert (failure["reason"], failure["unexpected"]) == (message, True)
    assert "Traceback (most recent call last)" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("vocabulary", "length", "problem"),
    [
        (40, 24, "does not belong to the model"),
        (300, 65, "has 65 tokens, but the model reads at most 64"),
    ],
)
def test_documents_that_the_model_cannot_read_are_refused(
    model_folder, run, make_checkpoint, settings, vocabulary, length, problem
):
    make_checkpoint(model_folder, config=tiny_llama(vocab_size=vocabulary))
    corpus = settings.corpus.model_copy(update={"length": length})
    assert problem in run(settings.model_copy(update={"corpus": corpus}))


def test_documents_of_the_papers_sampling_are_run_separately(
    model_folder, out, run, make_checkpoint, settings, tokenizers
):
    config = tiny_llama(max_position_embeddings=512)
    model = make_checkpoint(model_folder, config=config)
    paper = settings.corpus.model_copy(update={"sampling": "paper"})
    chosen = settings.model_copy(update={"corpus": paper, "corpora": ["text"]})
    run(chosen)
    texts = {paper.text: read_text(paper.text)}
    (corpus,) = corpora.build(["text"], texts, tokenizers["decoder"], paper, 300)
    shard = shards(out, "text")[2, "block"]
    with torch.no_grad():
        state = model(torch.from_numpy(corpus.documents[5])[None], output_hidden_states=True)
    np.testing.assert_array_equal(
        shard.activation[shard.document == 5], state.hidden_states[2][0].numpy()
    )


def test_corpora_with_unchanged_inputs_are_not_extracted_again(
    model_folder, out, run, make_checkpoint
):
    make_checkpoint(model_folder)
    run(out=out / "first")
    origins = json.loads((out / "first" / ORIGINS).read_bytes())["corpora"]
    origins["random"]["from"]["corpus_digest"] = "of other tokens"
    # The versions of the libraries that computed the shards do not matter.
    origins["text"]["by"]["torch"] = "1.0"
    assert run(out=out / "second", measured=origins) == "s/run/main: extracted random"
    assert [path.name for path in (out / "second").iterdir() if path.is_dir()] == ["random"]
    # The file lists all requested corpora, because those that were not extracted are up to date.
    written = json.loads((out / "second" / ORIGINS).read_bytes())
    assert written["fingerprint"] == FINGERPRINT
    assert set(written["corpora"]) == set(origins)


@pytest.mark.parametrize("family", ["decoder", "encoder"])
def test_tokens_at_random_positions_of_passages_are_kept(
    family, model_folder, out, run, make_checkpoint, settings, tokenizers
):
    model = make_checkpoint(model_folder, family)
    passages = settings.corpus.passages.model_copy(update={"documents": 90, "length": 10})
    corpus = settings.corpus.model_copy(update={"passages": passages})
    chosen = settings.model_copy(update={"corpora": ["passages"], "corpus": corpus})
    run(chosen)
    texts = {corpus.text: read_text(corpus.text)}
    (built,) = corpora.build(["passages"], texts, tokenizers[family], corpus, 300)
    shard = shards(out, "passages")[2, "block"]
    measured = [(n, p) for n in range(90) for p in built.measured(n)]
    assert list(zip(shard.document, shard.position, strict=True)) == measured
    documents = np.stack(built.documents)
    np.testing.assert_array_equal(shard.token, documents[shard.document, shard.position])
    with torch.no_grad():
        states = model(torch.from_numpy(documents), output_hidden_states=True).hidden_states[2]
    # The extraction reads the same documents in smaller batches, so values are rounded differently.
    expected = states.numpy()[shard.document, shard.position]
    np.testing.assert_allclose(shard.activation, expected, rtol=1e-4, atol=1e-6)
    # Two tokens have the same context if everything that the model reads before them is the same.
    beginnings = [
        (documents[n, : p + 1] if family == "decoder" else [*documents[n], p]) for n, p in measured
    ]
    distinct = {tuple(beginning) for beginning in beginnings}
    assert len(set(shard.context)) == len(distinct)
    assert not shard.selections
    checkpoint.measure(out, out.parent / "measured", chosen.measurement("s"))
    found = Measured.read(out.parent / "measured", chosen.measurement("s"))
    assert set(found.geometry.selection) == {"one_per_document", "few_documents"}
    blocks = found.geometry[found.geometry.layer_kind == "block"]
    assert blocks.groupby("layer").n_points.nunique().eq(1).all()
    assert found.complete()


@pytest.mark.parametrize("family", ["decoder", "encoder"])
def test_last_token_of_many_short_documents_is_kept(
    family, model_folder, out, run, make_checkpoint, settings, tokenizers
):
    model = make_checkpoint(model_folder, family)
    last = settings.corpus.last.model_copy(update={"documents": 150, "length": 10})
    corpus = settings.corpus.model_copy(update={"last": last})
    chosen = settings.model_copy(update={"corpora": ["last"], "corpus": corpus})
    run(chosen)
    texts = {corpus.text: read_text(corpus.text)}
    (built,) = corpora.build(["last"], texts, tokenizers[family], corpus, 300)
    found = shards(out, "last")
    shard = found[2, "block"]
    n = len(built.documents)
    # Repeated documents are left out.
    assert 100 < n <= 150
    assert len({document.tobytes() for document in built.documents}) == n
    assert shard.document.tolist() == [*range(n)]
    # For an encoder, the last token is the token before SEP.
    assert set(shard.position) == {9 - built.n_suffix}
    batch = torch.from_numpy(np.stack(built.documents))
    with torch.no_grad():
        states = model(batch, output_hidden_states=True).hidden_states
    # The extraction reads the same documents in smaller batches, so values are rounded differently.
    np.testing.assert_allclose(
        shard.activation, states[2][:, 9 - built.n_suffix].numpy(), rtol=1e-4, atol=1e-6
    )
    assert shard.metadata["pooling"] == "last"
    contents = Path(corpus.text).read_bytes()
    assert shard.metadata["text_sha256"] == hashlib.sha256(contents).hexdigest()
    assert all(shard.selected(selection).all() for selection in ("all", "no_first"))
    assert len(set(shard.context)) == n
    losses = tables.read(out / "losses.parquet", schemas.OF_CHECKPOINT["losses"])
    assert losses.corpus.tolist() == ["last"]
