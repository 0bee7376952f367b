"""The encoder and the decoder of a model are measured separately."""

import numpy as np
import pytest
import torch
import transformers

from helpers.models import trajectory
from helpers.workflow import complete, read, settings, write

SEQ2SEQ = transformers.AutoModelForSeq2SeqLM
T5 = transformers.T5Config(
    **{"vocab_size": 300, "d_model": 16, "d_kv": 8, "d_ff": 32, "num_layers": 3, "num_heads": 2},
    **{"num_decoder_layers": 2, "decoder_start_token_id": 0},
)
BART = transformers.BartConfig(
    **{"vocab_size": 300, "d_model": 16, "encoder_layers": 2, "decoder_layers": 2},
    **{"encoder_ffn_dim": 32, "decoder_ffn_dim": 32, "max_position_embeddings": 64},
    **{"encoder_attention_heads": 2, "decoder_attention_heads": 2, "decoder_start_token_id": 2},
)


@pytest.fixture
def folder(tmp_path, text_file, tokenizers):
    """A sweep of two encoder-decoders, with three checkpoints each."""
    for name, config in (("t5", T5), ("bart", BART)):
        for step, model in trajectory(config, (0, 10, 20), kind=SEQ2SEQ):
            path = tmp_path / name / f"checkpoint-{step}"
            model.save_pretrained(path)
            tokenizers["encoder"].save_pretrained(path)
    suite = {"source": "local", "runs": {name: str(tmp_path / name) for name in ("t5", "bart")}}
    more = {"corpora": ["text", "last"], "keep_activations": True}
    write(tmp_path, settings(text_file, suites={"s": suite}, **more))
    return tmp_path


def test_both_stacks_of_encoder_decoders_are_measured(folder):
    complete(folder)
    assert not len(read(folder, "failures"))
    geometry = read(folder, "geometry")
    assert set(geometry.step) == {0, 10, 20}
    found = geometry[(geometry.metric == "anisotropy") & (geometry.selection == "all")]
    found = found[(found.corpus == "text") & (found.step == 20)]
    layers = found.groupby(["run", "stack", "family"]).layer.apply(list).to_dict()
    # T5 has a final norm in each stack. BART has none.
    assert layers == {
        ("t5", "encoder", "encoder"): [0, 1, 2, 3, 3],
        ("t5", "decoder", "decoder"): [0, 1, 2, 2],
        ("bart", "encoder", "encoder"): [0, 1, 2],
        ("bart", "decoder", "decoder"): [0, 1, 2],
    }
    profiles = read(folder, "curves/profiles")
    assert set(profiles.run) == {f"{run} {stack}" for run, stack, _ in layers}
    summary = (folder / "results/summary.txt").read_text(encoding="utf-8")
    assert summary.startswith("6 checkpoints of 2 runs measured, 0 not measured\n")
    assert "t5 encoder" in summary and "bart decoder" in summary
    assert (folder / "results/figures/families.svg").is_file()
    assert (folder / "results/report.html").is_file()
    assert_shards_equal_transformers(folder)


def assert_shards_equal_transformers(folder):
    from shapesweep.storage.shards import read_shard

    model = SEQ2SEQ.from_pretrained(folder / "t5/checkpoint-20").eval()
    shards = folder / "results/activations/s/t5"
    (path,) = shards.glob("checkpoint-20/*/text/encoder-layer-1.parquet")
    encoder, decoder = (read_shard(path.with_name(f"{stack}-layer-1.parquet"))
                        for stack in ("encoder", "decoder"))  # fmt: skip
    documents = encoder.token.reshape(-1, 16).astype(np.int64)
    read_by_decoder = decoder.token.reshape(-1, 16).astype(np.int64)
    # The decoder reads the document after the start token, without the last token.
    assert (read_by_decoder[:, 0] == 0).all()
    np.testing.assert_array_equal(read_by_decoder[:, 1:], documents[:, :-1])
    with torch.inference_mode():
        output = model(
            input_ids=torch.from_numpy(documents),
            decoder_input_ids=torch.from_numpy(read_by_decoder),
            output_hidden_states=True,
        )
    for shard, states in (
        (encoder, output.encoder_hidden_states),
        (decoder, output.decoder_hidden_states),
    ):
        # Batches of other sizes are rounded differently.
        expected = states[1].reshape(-1, 16).numpy()
        np.testing.assert_allclose(shard.activation, expected, rtol=1e-4, atol=1e-5)
    # The first two tokens of the decoder's input and its last token are not text.
    kept = decoder.position[decoder.selected("no_first")]
    assert set(kept) == set(range(2, 16))
    assert set(encoder.position[encoder.selected("no_first")]) == set(range(1, 15))
