"""The blocks, the last state and the causality of a model are found by running it."""

import numpy as np
import pytest
import torch
import transformers

from helpers import miniatures
from helpers.models import SHAPE, tiny_bert, tiny_bloom, tiny_llama, tiny_neox
from shapesweep.activations.budget import at_layer
from shapesweep.checkpoint.blocks import first_tensor
from shapesweep.checkpoint.forward import forward, to_batch
from shapesweep.checkpoint.hidden_states import find_anatomy, find_stacks
from shapesweep.errors import CheckpointError

#: Ids that are in every vocabulary.
DOCUMENT = np.random.default_rng(0).integers(10, 60, 16)
OPT = {"vocab_size": 300, "hidden_size": 16, "ffn_dim": 32, "num_hidden_layers": 2}
OPT |= {"num_attention_heads": 2, "max_position_embeddings": 64}


def anatomy_of(model):
    with torch.inference_mode():
        return find_anatomy(model.eval(), DOCUMENT)


@pytest.mark.parametrize(
    "config",
    [
        tiny_llama(),
        tiny_llama(num_hidden_layers=1),
        transformers.GPT2Config(vocab_size=300, n_embd=16, n_layer=2, n_head=2),
        tiny_neox(),
        tiny_bloom(),
        transformers.OPTConfig(**OPT),
        transformers.Gemma2Config(**SHAPE, head_dim=8, num_key_value_heads=2),
        transformers.OlmoConfig(**SHAPE),
        transformers.MptConfig(vocab_size=300, d_model=16, n_layers=2, n_heads=2),
    ],
)
def test_anatomy_is_found_in_every_architecture(config):
    torch.manual_seed(0)
    anatomy = anatomy_of(transformers.AutoModelForCausalLM.from_config(config))
    assert anatomy.n_layers == config.num_hidden_layers
    assert anatomy.last == "final_norm"
    assert anatomy.causal and anatomy.family == "decoder"


@pytest.mark.parametrize("scale", [1e-3, 1.0, 30.0])
@pytest.mark.parametrize("epsilon", [1e-12, 1e-5, 1e-3])
def test_final_norm_is_found_for_states_of_all_sizes(scale, epsilon):
    # A constant that is large compared with the states changes their norms.
    model = transformers.LlamaForCausalLM(tiny_llama(rms_norm_eps=epsilon))
    with torch.no_grad():
        for name, weights in model.named_parameters():
            weights.mul_(scale if "embed" in name else 1)
        model.model.norm.weight.uniform_(0.5, 2)
    assert anatomy_of(model).last == "final_norm"


@pytest.mark.parametrize("before", [True, False])
def test_projection_behind_the_last_block_is_no_final_norm(before):
    # The published OPT-350m projects its last states to another width.
    config = transformers.OPTConfig(**OPT, word_embed_proj_dim=8, do_layer_norm_before=before)
    model = transformers.OPTForCausalLM(config)
    anatomy = anatomy_of(model)
    assert anatomy.names() == [(0, "embedding"), (1, "block"), (2, "block")]
    outputs = []
    block = model.model.decoder.layers[-1]
    hook = block.register_forward_hook(lambda _m, _i, out: outputs.append(first_tensor(out)))
    with hook, anatomy.ends() as ends, torch.inference_mode():
        states = forward(model, to_batch(model, [DOCUMENT])).hidden_states
    kept = anatomy.kept(states, ends)
    assert [state.shape[-1] for state in kept] == [16, 16, 16]
    assert torch.equal(kept[-1], outputs[0])


def test_projection_of_the_same_width_is_no_final_norm():
    model = transformers.LlamaForCausalLM(tiny_llama())
    model.model.norm = torch.nn.Linear(16, 16)
    assert anatomy_of(model).last == "projection"


def test_model_that_needs_inputs_besides_tokens_raises_an_error():
    config = transformers.ViTConfig(**SHAPE, image_size=8, patch_size=4)
    with pytest.raises(CheckpointError, match="cannot be run on these tokens: AttributeError: "):
        anatomy_of(transformers.ViTModel(config))


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("T5ForConditionalGeneration", "has two stacks, an encoder and a decoder"),
        ("DeepseekV4ForCausalLM", r"layer 0 has the shape \(1, 16, 4, \d+\) for 16 tokens"),
        ("Gemma3nForCausalLM", r"layer 0 has the shape \(4, 1, 16, \d+\) for 16 tokens"),
        ("PerceiverForMaskedLM", "does not return one state per token"),
        ("FunnelForMaskedLM", "does not return one state per token"),
    ],
)
def test_models_without_one_state_per_token_are_refused(name, reason):
    torch.manual_seed(0)
    with pytest.raises(CheckpointError, match=f"^{name} .*({reason})"):
        anatomy_of(miniatures.make(name))


@pytest.mark.parametrize("name", ["T5ForConditionalGeneration", "BartForConditionalGeneration"])
def test_both_stacks_of_an_encoder_decoder_are_found(name):
    torch.manual_seed(0)
    model = miniatures.make(name).eval()
    with torch.inference_mode():
        encoder, decoder = find_stacks(model, DOCUMENT)
    assert (encoder.stack, encoder.family) == ("encoder", "encoder")
    assert (decoder.stack, decoder.family) == ("decoder", "decoder")
    for anatomy in (encoder, decoder):
        blocks = [block.module for block in anatomy.blocks]
        inside = model.get_encoder() if anatomy is encoder else model.get_decoder()
        assert set(blocks) <= set(inside.modules())


def test_random_states_are_refused():
    model = transformers.LlamaForCausalLM(tiny_llama())
    model.model.norm.register_forward_hook(lambda _m, _i, out: out + torch.randn_like(out))
    with pytest.raises(CheckpointError, match="returns other hidden states in every run"):
        anatomy_of(model)


#: Models whose blocks are not a list of modules that return tensors, each called once.
UNUSUAL = {
    "AlbertForMaskedLM": "encoder",
    "OpenAIGPTLMHeadModel": "decoder",
    "MambaForCausalLM": "decoder",
    "Mamba2ForCausalLM": "decoder",
    "FalconMambaForCausalLM": "decoder",
    "RwkvForCausalLM": "decoder",
    "XLNetLMHeadModel": "encoder",
    "LongformerForMaskedLM": "encoder",
    "ProphetNetForCausalLM": "decoder",
    # CpmAnt reads a document without a known end in both directions.
    "CpmAntForCausalLM": "encoder",
    "MllamaForCausalLM": "decoder",
}


@pytest.mark.parametrize("name", UNUSUAL)
def test_blocks_of_unusual_models_are_found(name):
    torch.manual_seed(0)
    model = miniatures.make(name).eval()
    anatomy = anatomy_of(model)
    assert anatomy.family == UNUSUAL[name]
    with torch.inference_mode(), anatomy.ends() as ends:
        output = forward(model, to_batch(model, [DOCUMENT, DOCUMENT[::-1]]))
    kept = anatomy.kept(output.hidden_states, ends)
    assert len(kept) == len(anatomy.names())
    assert {state.shape[:2] for state in kept} == {(2, 16)}
    embedded = model.get_input_embeddings()(to_batch(model, [DOCUMENT, DOCUMENT[::-1]]))
    if not anatomy.has_embedding:
        torch.testing.assert_close(kept[0], embedded)


@pytest.mark.parametrize("name", ["LlamaForCausalLM", "BertForMaskedLM", *UNUSUAL])
def test_states_of_a_single_layer_can_be_changed(name):
    torch.manual_seed(0)
    model = miniatures.make(name).eval()
    anatomy = anatomy_of(model)
    batch = to_batch(model, [DOCUMENT, DOCUMENT[::-1]])

    def states():
        with torch.inference_mode(), anatomy.ends() as ends:
            return anatomy.kept(forward(model, batch).hidden_states, ends)

    before = states()
    for layer in range(1, anatomy.n_layers):
        inputs = []
        try:
            with (
                at_layer(anatomy, layer, lambda found: found + 1),
                anatomy.blocks[layer].at_input(inputs.append),
            ):
                after = states()
        except CheckpointError as error:
            assert "cannot be changed" in str(error)
            assert name in ("LongformerForMaskedLM", "ProphetNetForCausalLM", "CpmAntForCausalLM")
            return
        for k in range(layer):
            torch.testing.assert_close(after[k], before[k])
        # transformers may record the states before they are changed.
        torch.testing.assert_close(inputs[0], before[layer] + 1)
        assert not torch.allclose(after[layer + 1], before[layer + 1])


def test_encoder_without_a_final_norm_has_no_final_norm_layer():
    anatomy = anatomy_of(transformers.BertForMaskedLM(tiny_bert()))
    assert anatomy.names() == [(0, "embedding"), (1, "block"), (2, "block")]
    assert anatomy.family == "encoder"


@pytest.mark.parametrize(
    "model",
    [
        transformers.BertLMHeadModel(tiny_bert(is_decoder=False)),
        transformers.LlamaForCausalLM(tiny_llama(is_causal=False)),
        transformers.XLMWithLMHeadModel(
            transformers.XLMConfig(vocab_size=300, emb_dim=16, n_layers=2, n_heads=2)
        ),
    ],
    ids=lambda model: type(model).__name__,
)
def test_name_of_a_class_does_not_make_a_model_causal(model):
    assert anatomy_of(model).family == "encoder"


@pytest.mark.parametrize(
    ("model", "families"),
    [
        (transformers.BertForMaskedLM(tiny_bert()), ["encoder"]),
        (transformers.BertLMHeadModel(tiny_bert(is_decoder=True)), ["decoder"]),
        (transformers.LlamaForCausalLM(tiny_llama()), ["decoder"]),
        (transformers.LlamaForCausalLM(tiny_llama(is_causal=False)), ["encoder"]),
        (miniatures.make("BartForConditionalGeneration"), ["encoder", "decoder"]),
    ],
    ids=lambda value: type(value).__name__,
)
def test_family_is_known_if_attention_is_initialized_with_zeros(model, families):
    outputs = ("attention.output.dense", "o_proj", "out_proj")
    with torch.no_grad():
        for name, weights in model.named_parameters():
            if any(f"{output}." in name for output in outputs):
                weights.zero_()
    with torch.inference_mode():
        found = find_stacks(model.eval(), DOCUMENT)
    assert [anatomy.family for anatomy in found] == families


def test_states_that_are_not_finite_do_not_hide_the_blocks():
    model = transformers.LlamaForCausalLM(tiny_llama())
    with torch.no_grad():
        model.model.layers[1].mlp.down_proj.weight.fill_(torch.nan)
    assert anatomy_of(model).n_layers == 3
