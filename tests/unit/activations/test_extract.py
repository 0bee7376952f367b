"""The activations: every row of a shard equals the output of the model."""

import json
import os
import shutil

import numpy as np
import pytest
import torch
import transformers

from helpers.models import tiny_llama
from helpers.shards import FINGERPRINT, checkpoint_of, extract
from shapesweep import corpora
from shapesweep.checkpoint import load, weight_sample
from shapesweep.checkpoint.hidden_states import find_anatomy
from shapesweep.corpora import read_text
from shapesweep.errors import CheckpointError
from shapesweep.storage import failures, schemas, tables
from shapesweep.storage.shards import ORIGINS, read_shard


def shards(out, name):
    found = [read_shard(path) for path in sorted((out / name).glob("layer-*.parquet"))]
    return {(s.metadata["layer"], s.metadata["layer_kind"]): s for s in found}


@pytest.mark.parametrize("family", ["decoder", "encoder"])
def test_shards_equal_the_hidden_states_of_the_model(
    tmp_path, family, make_checkpoint, settings, tokenizers, build_corpora
):
    model = make_checkpoint(tmp_path / "model", family)
    out = tmp_path / "out"
    line = extract(checkpoint_of(tmp_path / "model"), tmp_path / "model", settings, out)
    assert line == "s/run/main: extracted text, random, shuffled"
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
                # Bit-identical, since batch and weights are the same.
                np.testing.assert_array_equal(
                    shard.activation[rows], state.reshape(-1, state.shape[-1]).numpy()
                )
                np.testing.assert_array_equal(shard.token[rows], batch.reshape(-1).numpy())
                assert shard.position[rows].tolist() == [*range(24)] * len(numbers)


def test_last_block_is_stored_before_the_final_norm(tmp_path, make_checkpoint, settings):
    model = make_checkpoint(tmp_path / "model")
    extract(checkpoint_of(tmp_path / "model"), tmp_path / "model", settings, tmp_path / "out")
    found = shards(tmp_path / "out", "text")
    assert sorted(found) == [
        (0, "embedding"),
        (1, "block"),
        (2, "block"),
        (3, "block"),
        (3, "final_norm"),
    ]
    before = torch.from_numpy(found[3, "block"].activation.copy())
    with torch.no_grad():
        after = model.model.norm(before).numpy()
    # A norm of 16 float32 numbers, in other batches.
    np.testing.assert_allclose(after, found[3, "final_norm"].activation, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    ("config", "has_final_norm"),
    [
        (tiny_llama(), True),
        (tiny_llama(num_hidden_layers=1), True),
        (transformers.GPT2Config(vocab_size=300, n_embd=16, n_layer=2, n_head=2), True),
        (
            transformers.GPTNeoXConfig(
                vocab_size=300, hidden_size=16, num_hidden_layers=2, num_attention_heads=2,
                intermediate_size=32, max_position_embeddings=64,
            ),
            True,
        ),
        (transformers.BloomConfig(vocab_size=300, hidden_size=16, n_layer=2, n_head=2), True),
    ],
)  # fmt: skip
def test_anatomy_is_found_in_every_architecture(config, has_final_norm):
    torch.manual_seed(0)
    model = transformers.AutoModelForCausalLM.from_config(config).eval()
    with torch.inference_mode():
        anatomy = find_anatomy(model, np.arange(5, 15))
    assert anatomy.n_layers == config.num_hidden_layers
    assert anatomy.has_final_norm is has_final_norm
    assert anatomy.causal


def test_model_that_needs_more_than_tokens_raises_an_error():
    config = transformers.T5Config(
        vocab_size=300, d_model=16, d_kv=8, d_ff=32, num_layers=2, num_heads=2
    )
    model = transformers.T5ForConditionalGeneration(config).eval()
    with torch.inference_mode(), pytest.raises(CheckpointError, match="cannot be run on these"):
        find_anatomy(model, np.arange(5, 15))


def test_encoder_without_a_final_norm_has_no_final_norm_layer(make_checkpoint, tmp_path):
    model = make_checkpoint(tmp_path, "encoder")
    with torch.inference_mode():
        anatomy = find_anatomy(model, np.arange(5, 15))
    assert anatomy.names() == [(0, "embedding"), (1, "block"), (2, "block")]
    assert not anatomy.causal


def test_name_of_a_class_does_not_make_a_model_causal(tmp_path, make_checkpoint):
    make_checkpoint(tmp_path, "encoder")
    config = transformers.BertConfig.from_pretrained(tmp_path, is_decoder=False)
    model = transformers.BertLMHeadModel(config).eval()
    with torch.inference_mode():
        assert not find_anatomy(model, np.arange(5, 15)).causal


def test_loss_of_a_decoder_matches_transformers(
    tmp_path, make_checkpoint, settings, tokenizers, build_corpora
):
    model = make_checkpoint(tmp_path / "model")
    extract(checkpoint_of(tmp_path / "model"), tmp_path / "model", settings, tmp_path / "out")
    losses = tables.read(tmp_path / "out/losses.parquet", schemas.LOSSES).set_index("corpus")
    for corpus in build_corpora(tokenizers["decoder"]):
        batch = torch.from_numpy(np.stack(corpus.documents))
        with torch.no_grad():
            expected = model(batch, labels=batch).loss.item()
        # The mean of about 370 float32 losses, in another order.
        assert losses.value[corpus.name] == pytest.approx(expected, rel=1e-5)
        assert 0 < losses.stderr[corpus.name] < 1


def test_loss_of_an_encoder_uses_a_fixed_mask(tmp_path, make_checkpoint, settings):
    make_checkpoint(tmp_path / "model", "encoder")
    values = []
    for name in ("a", "b"):
        extract(checkpoint_of(tmp_path / "model"), tmp_path / "model", settings, tmp_path / name)
        values.append(tables.read(tmp_path / name / "losses.parquet", schemas.LOSSES).value)
    assert values[0].tolist() == values[1].tolist()
    # The loss of a uniform guess is ln(300) = 5.70; small random weights change it little.
    np.testing.assert_allclose(values[0], np.log(300), atol=0.5)


def test_encoder_with_two_heads_has_a_loss(tmp_path, make_checkpoint, settings):
    make_checkpoint(tmp_path / "model", "encoder")
    config = transformers.BertConfig.from_pretrained(tmp_path / "model")
    transformers.BertForPreTraining(config).save_pretrained(tmp_path / "model")
    checkpoint = checkpoint_of(tmp_path / "model")
    assert checkpoint.architecture == "BertForPreTraining"
    extract(checkpoint, tmp_path / "model", settings, tmp_path / "out")
    assert len(tables.read(tmp_path / "out/losses.parquet", schemas.LOSSES)) == 3


def test_damaged_checkpoint_is_recorded_without_an_error(tmp_path, make_checkpoint, settings):
    make_checkpoint(tmp_path / "model")
    path = tmp_path / "model/model.safetensors"
    path.write_bytes(path.read_bytes()[:-8])
    checkpoint = checkpoint_of(tmp_path / "model")
    line = extract(checkpoint, tmp_path / "model", settings, tmp_path / "out")
    assert line == "s/run/main: skipped: damaged:model.safetensors"
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["failed.json"]


@pytest.mark.parametrize("change", ["size", "time", "absent", "folder"])
def test_files_that_differ_from_the_manifest_are_a_transient_failure(
    tmp_path, make_checkpoint, settings, change
):
    make_checkpoint(tmp_path / "model")
    checkpoint = checkpoint_of(tmp_path / "model")
    path = tmp_path / "model/config.json"
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
    line = extract(checkpoint, tmp_path / "model", settings, tmp_path / "out")
    assert line.startswith("s/run/main: skipped: ")
    reasons = {"folder": "the folder no longer exists", "absent": "config.json is missing"}
    reason = reasons.get(change, "config.json differs from the manifest")
    assert reason in line
    assert failures.is_transient(tmp_path / "out")


def test_sample_of_the_weights_is_written_with_its_revision(tmp_path, make_checkpoint, settings):
    model = make_checkpoint(tmp_path / "model")
    extract(checkpoint_of(tmp_path / "model"), tmp_path / "model", settings, tmp_path / "out")
    path = tmp_path / "out/samples.parquet"
    found = tables.read(path, schemas.SAMPLES)
    assert set(found.revision) == {"main"}
    for kind, values in weight_sample.sample(model).items():
        np.testing.assert_array_equal(found.value[found.tensor_class == kind], values)
    assert tables.read_metadata(path) == {"vocabulary": 300}


def test_activations_that_are_not_finite_are_reported(tmp_path, make_checkpoint, settings):
    model = make_checkpoint(tmp_path / "model")
    with torch.no_grad():
        model.model.layers[1].mlp.down_proj.weight.fill_(3e38)
        model.model.layers[1].mlp.up_proj.weight.fill_(100)
    model.save_pretrained(tmp_path / "model")
    checkpoint = checkpoint_of(tmp_path / "model")
    line = extract(checkpoint, tmp_path / "model", settings, tmp_path / "out")
    assert line.endswith("skipped: layer 2 (block) has infinite or NaN values on the corpus text")


@pytest.mark.parametrize(
    "error",
    [
        MemoryError(),
        torch.OutOfMemoryError("CUDA out of memory."),
        RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried"),
    ],
)
def test_lack_of_memory_is_not_a_failure_of_the_checkpoint(
    tmp_path, make_checkpoint, settings, monkeypatch, error
):
    make_checkpoint(tmp_path / "model")

    def run(*_args, **_more):
        raise error

    monkeypatch.setattr(transformers.LlamaForCausalLM, "forward", run)
    with pytest.raises(MemoryError):
        extract(checkpoint_of(tmp_path / "model"), tmp_path / "model", settings, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_tokenizer_of_another_model_is_refused(tmp_path, make_checkpoint, settings):
    make_checkpoint(tmp_path / "model", config=tiny_llama(vocab_size=40))
    checkpoint = checkpoint_of(tmp_path / "model")
    line = extract(checkpoint, tmp_path / "model", settings, tmp_path / "out")
    assert "do not belong together" in line


def test_documents_longer_than_the_model_reads_are_refused(tmp_path, make_checkpoint, settings):
    make_checkpoint(tmp_path / "model")
    longer = settings.model_copy(
        update={"corpus": settings.corpus.model_copy(update={"length": 65})}
    )
    checkpoint = checkpoint_of(tmp_path / "model")
    line = extract(checkpoint, tmp_path / "model", longer, tmp_path / "out")
    assert "has 65 tokens, the model reads at most 64" in line


def test_documents_of_the_papers_sampling_are_run_separately(
    tmp_path, make_checkpoint, settings, tokenizers
):
    config = tiny_llama(max_position_embeddings=512)
    model = make_checkpoint(tmp_path / "model", config=config)
    paper = settings.corpus.model_copy(update={"sampling": "paper"})
    chosen = settings.model_copy(update={"corpus": paper, "corpora": ["text"]})
    extract(checkpoint_of(tmp_path / "model"), tmp_path / "model", chosen, tmp_path / "out")
    text = read_text(paper.text)
    (corpus,) = corpora.build(["text"], text, tokenizers["decoder"], paper, 300)
    shard = shards(tmp_path / "out", "text")[2, "block"]
    with torch.no_grad():
        state = model(torch.from_numpy(corpus.documents[5])[None], output_hidden_states=True)
    np.testing.assert_array_equal(
        shard.activation[shard.document == 5], state.hidden_states[2][0].numpy()
    )


def test_interrupted_extraction_leaves_nothing(tmp_path, make_checkpoint, settings, monkeypatch):
    make_checkpoint(tmp_path / "model")

    def stop(*_args):
        raise KeyboardInterrupt

    monkeypatch.setattr(load, "load_tokenizer", stop)
    with pytest.raises(KeyboardInterrupt):
        extract(checkpoint_of(tmp_path / "model"), tmp_path / "model", settings, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_corpora_with_unchanged_inputs_are_not_extracted_again(tmp_path, make_checkpoint, settings):
    make_checkpoint(tmp_path / "model")
    checkpoint = checkpoint_of(tmp_path / "model")
    extract(checkpoint, tmp_path / "model", settings, tmp_path / "first")
    origins = json.loads((tmp_path / "first" / ORIGINS).read_bytes())["corpora"]
    origins["random"]["from"]["corpus_digest"] = "of other tokens"
    # The versions that computed the shards do not matter.
    origins["text"]["by"]["torch"] = "1.0"
    line = extract(checkpoint, tmp_path / "model", settings, tmp_path / "second", origins)
    assert line == "s/run/main: extracted random"
    found = [path.name for path in (tmp_path / "second").iterdir() if path.is_dir()]
    assert found == ["random"]
    # All requested corpora are listed, so that the others are known to be up to date.
    written = json.loads((tmp_path / "second" / ORIGINS).read_bytes())
    assert written["fingerprint"] == FINGERPRINT
    assert set(written["corpora"]) == set(origins)


@pytest.mark.parametrize("family", ["decoder", "encoder"])
def test_last_token_of_many_short_documents_is_kept(
    tmp_path, family, make_checkpoint, settings, tokenizers
):
    model = make_checkpoint(tmp_path / "model", family)
    last = settings.corpus.last.model_copy(update={"documents": 150, "length": 10})
    corpus = settings.corpus.model_copy(update={"last": last})
    chosen = settings.model_copy(update={"corpora": ["last"], "corpus": corpus})
    out = tmp_path / "out"
    extract(checkpoint_of(tmp_path / "model"), tmp_path / "model", chosen, out)
    (built,) = corpora.build(["last"], read_text(corpus.text), tokenizers[family], corpus, 300)
    found = shards(out, "last")
    shard = found[2, "block"]
    n = len(built.documents)
    # Repeated documents are left out.
    assert 100 < n <= 150
    assert len({document.tobytes() for document in built.documents}) == n
    assert shard.document.tolist() == [*range(n)]
    # For an encoder, the last token before SEP.
    assert set(shard.position) == {9 - built.n_suffix}
    batch = torch.from_numpy(np.stack(built.documents))
    with torch.no_grad():
        states = model(batch, output_hidden_states=True).hidden_states
    # The same documents in smaller batches.
    np.testing.assert_allclose(
        shard.activation, states[2][:, 9 - built.n_suffix].numpy(), rtol=1e-4, atol=1e-6
    )
    assert shard.metadata["pooling"] == "last"
    assert all(shard.selected(selection).all() for selection in ("all", "no_first"))
    assert len(set(shard.contexts())) == n
    losses = tables.read(out / "losses.parquet", schemas.LOSSES)
    assert losses.corpus.tolist() == ["last"]
