"""Probes agree with the estimators, leave the model unchanged, and write complete files."""

import numpy as np
import pytest
import torch
import transformers

import shapesweep
from helpers.models import AUTO, tiny_bert, tiny_llama
from shapesweep.errors import ShapesweepError
from shapesweep.explosions import indicators
from shapesweep.storage import schemas, tables
from shapesweep.storage.schemas import PROBE_FILE
from shapesweep.training.probe import SIGNALS, Probe, Record
from shapesweep.training.probe_callback import ProbeCallback


@pytest.fixture
def model():
    torch.manual_seed(0)
    return transformers.LlamaForCausalLM(tiny_llama(initializer_range=0.3))


@pytest.fixture
def documents():
    return np.random.default_rng(0).integers(5, 300, size=(8, 24))


def by_name(readings):
    return {(reading.metric, reading.layer): reading for reading in readings}


def test_readings_match_the_estimators_on_the_hidden_states(model, documents):
    found = by_name(Probe(documents, layers=[2])(model))
    assert {name for name, _ in found} == set(SIGNALS)
    model.eval()
    with torch.no_grad():
        states = model(torch.from_numpy(documents), output_hidden_states=True).hidden_states[2]
    later, every = states[:, 1:].reshape(-1, 16).numpy(), states.reshape(-1, 16).numpy()
    distances, _ = shapesweep.nearest_neighbors(later, 20)
    expected = {
        "anisotropy": shapesweep.anisotropy(later),
        "id_twonn": shapesweep.id_twonn(distances),
        "id_gride": shapesweep.id_gride(distances, 8, 16)[0],
        "id_mle": shapesweep.id_mle(distances),
        "max_norm": np.linalg.norm(every, axis=1).max(),
    }
    for name, value in expected.items():
        # Different attention kernels give the same values up to rounding.
        assert found[name, 2].value == pytest.approx(value, rel=1e-3), name
    assert found["id_twonn", 2].n_points == len(later)
    assert found["id_mle", 2].k == 20
    norm = np.sqrt(sum((p.detach().numpy().astype(float) ** 2).sum() for p in model.parameters()))
    assert found["parameter_norm", None].value == pytest.approx(norm, rel=1e-5)


def test_attention_of_a_hybrid_belongs_to_its_block(documents):
    config = transformers.Qwen3NextConfig(
        **{"vocab_size": 300, "hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 8},
        **{"num_attention_heads": 2, "num_key_value_heads": 1, "head_dim": 8, "num_experts": 2},
        **{"linear_num_key_heads": 2, "linear_num_value_heads": 2, "linear_key_head_dim": 8},
        **{"linear_value_head_dim": 8, "num_experts_per_tok": 1, "moe_intermediate_size": 16},
        shared_expert_intermediate_size=16,
    )
    torch.manual_seed(0)
    hybrid = transformers.Qwen3NextForCausalLM(config)
    has_attention = [n for n, kind in enumerate(config.layer_types, 1) if "full" in kind]
    assert has_attention == [4, 8]
    probe = Probe(documents, layers=range(1, 9), signals=["attention_entropy"])
    found = {reading.layer: reading.value for reading in probe(hybrid)}
    hybrid.eval().set_attn_implementation("eager")
    with torch.no_grad():
        output = hybrid(torch.from_numpy(documents), output_attentions=True)
    expected = [indicators.attention_entropy(weights.numpy()) for weights in output.attentions]
    assert found == dict(zip(has_attention, expected, strict=True))
    # The default layers of a hybrid may have no attention.
    Probe(documents)(hybrid)


def test_probe_measures_the_last_block_before_a_projection(documents):
    config = transformers.OPTConfig(
        **{"vocab_size": 300, "hidden_size": 16, "ffn_dim": 32, "num_hidden_layers": 2},
        **{"num_attention_heads": 2, "word_embed_proj_dim": 8, "do_layer_norm_before": False},
    )
    model = transformers.OPTForCausalLM(config).eval()
    kept = []
    block = model.model.decoder.layers[-1]
    block.register_forward_hook(
        lambda _m, _i, out: kept.append(out[0] if type(out) is tuple else out)
    )
    (reading,) = Probe(documents, layers=[2], signals=["max_norm"])(model)
    assert reading.layer_kind == "block"
    assert reading.value == pytest.approx(kept[-1].norm(dim=-1).max().item())


def test_alignment_reads_the_transposed_matrices_of_gpt2(documents):
    config = transformers.GPT2Config(vocab_size=300, n_embd=16, n_layer=2, n_head=2)
    model = transformers.GPT2LMHeadModel(config)
    (reading,) = Probe(documents, layers=[1], signals=["spectral_alignment"])(model)
    model.eval()
    inputs, expected = {}, []
    for name in ("attn.c_attn", "attn.c_proj", "mlp.c_fc", "mlp.c_proj"):
        module = model.transformer.h[0].get_submodule(name)
        module.register_forward_pre_hook(lambda m, given: inputs.update({m: given[0]}))
    with torch.no_grad():
        model(torch.from_numpy(documents))
        for module, given in inputs.items():
            # The right singular vectors of the matrix whose rows are outputs.
            _, _, right = torch.linalg.svd(module.weight.T)
            projected = given.reshape(-1, given.shape[-1]) @ right[0]
            expected.append(projected.sign().mean().abs().item())
    # The power iteration of the probe has a limited number of steps.
    assert reading.value == pytest.approx(np.mean(expected), abs=0.1)


def test_attention_and_alignment_match_torch(model, documents):
    found = by_name(Probe(documents, layers=[2])(model))
    model.eval().set_attn_implementation("eager")
    block, kept = model.model.layers[1], {}
    hooks = [
        module.register_forward_pre_hook(lambda m, given: kept.setdefault(m, given[0]))
        for module in block.modules()
        if isinstance(module, torch.nn.Linear)
    ]
    with torch.no_grad():
        output = model(torch.from_numpy(documents), output_attentions=True)
    for hook in hooks:
        hook.remove()
    weights = output.attentions[1][:, :, 1:]
    entropy = torch.special.entr(weights).sum(-1) / torch.log(torch.arange(2.0, 25.0))
    assert found["attention_entropy", 2].value == pytest.approx(float(entropy.mean()), rel=1e-4)
    signs = []
    for module, given in kept.items():
        direction = torch.linalg.svd(module.weight.detach())[2][0]
        signs.append(abs(float((given @ direction).sign().mean())))
    # Eight power iterations do not separate two axes with nearly equal singular values.
    assert found["spectral_alignment", 2].value == pytest.approx(np.mean(signs), abs=0.1)


def test_leading_direction_converges(model):
    weight = model.lm_head.weight.detach().numpy()
    first = indicators.leading_direction(weight)
    for _ in range(20):
        first = indicators.leading_direction(weight, first)
    assert abs(first @ np.linalg.svd(weight)[2][0]) == pytest.approx(1, abs=1e-4)


def test_kurtosis_of_a_normal_distribution_is_three():
    points = np.random.default_rng(0).standard_normal((20_000, 10))
    # The standard error of the kurtosis of n values is sqrt(24/n), here 0.011 for 200,000 values.
    assert indicators.kurtosis(points) == pytest.approx(3, abs=0.05)
    assert np.isnan(indicators.kurtosis(np.ones((4, 4))))


@pytest.mark.parametrize("family", ["decoder", "encoder"])
def test_probe_leaves_the_model_unchanged(family, documents):
    torch.manual_seed(0)
    config = tiny_llama() if family == "decoder" else tiny_bert()
    model = AUTO[family].from_config(config).train()
    frozen = next(iter(model.children()))
    frozen.eval()
    # transformers registers hooks when hidden states are first requested.
    options = {"output_hidden_states": True, "output_attentions": True}
    model(torch.from_numpy(documents), **options)

    def setup():
        return model.config._attn_implementation, [
            (m.training, len(m._forward_hooks), len(m._forward_pre_hooks)) for m in model.modules()
        ]

    before = setup()
    state, values = torch.get_rng_state(), {k: v.clone() for k, v in model.state_dict().items()}
    readings = Probe(documents)(model)
    assert setup() == before
    assert torch.equal(torch.get_rng_state(), state)
    assert all(torch.equal(value, values[name]) for name, value in model.state_dict().items())
    assert all(p.grad is None for p in model.parameters())
    assert all(np.isfinite(reading.value) for reading in readings)


def test_exploded_model_gives_nan_without_an_error(model, documents):
    probe = Probe(documents)
    probe(model)
    with torch.no_grad():
        model.model.layers[0].mlp.up_proj.weight.fill_(float("nan"))
    found = by_name(probe(model))
    assert np.isnan(found["id_twonn", 2].value)
    assert np.isnan(found["max_norm", 2].value)
    assert np.isnan(found["parameter_norm", None].value)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"documents": [[1.0, 2.0]] * 2}, "token ids"),
        ({"documents": [1, 2]}, "token ids"),
        ({"documents": [[1, 2]]}, "two documents"),
        ({"documents": [[1, 2]] * 2, "signals": ["id_twon"]}, "did you mean id_twonn"),
    ],
)
def test_invalid_arguments_raise_an_error(arguments, message):
    with pytest.raises(ShapesweepError, match=message):
        Probe(**arguments)


def test_error_names_a_layer_that_does_not_exist(model, documents):
    with pytest.raises(ShapesweepError, match="the model has layers 0 to 3, not 9"):
        Probe(documents, layers=[9])(model)


def trainer(folder, model, documents, steps, probe=None, every=1, **more):
    arguments = transformers.TrainingArguments(
        output_dir=folder, max_steps=steps, per_device_train_batch_size=4, report_to="none",
        use_cpu=True, disable_tqdm=True, logging_steps=2, save_steps=4, learning_rate=1e-3, **more,
    )  # fmt: skip
    rows = [{"input_ids": document, "labels": document} for document in torch.from_numpy(documents)]
    training = transformers.Trainer(model=model, args=arguments, train_dataset=rows)
    if probe:
        training.add_callback(ProbeCallback(probe, every, log=training.log))
    return training


def test_callback_writes_to_the_trainer_log_and_to_a_file(tmp_path, model, documents):
    training = trainer(tmp_path, model, documents, 8, Probe(documents), every=3)
    training.train()
    found = tables.read(tmp_path / PROBE_FILE, schemas.PROBE)
    assert sorted(found.step.unique()) == [0, 3, 6]
    logged = {e["step"]: e for e in training.state.log_history if "shape/id_twonn/2" in e}
    assert sorted(logged) == [0, 3, 6]
    row = found.query("step == 6 and metric == 'id_twonn' and layer == 2").iloc[0]
    assert logged[6]["shape/id_twonn/2"] == row.value
    assert sum("loss" in e for e in training.state.log_history) == 4


def test_probe_that_fails_later_does_not_end_the_training(tmp_path, model, documents):
    class Failing(Probe):
        def __call__(self, model):
            if training.state.global_step == failing:
                raise MemoryError("no room")
            return super().__call__(model)

    failing, probe = 2, Failing(documents, signals=["max_norm"])
    training = trainer(tmp_path, model, documents, 4, probe)
    with pytest.warns(UserWarning, match="not measured at step 2: no room"):
        training.train()
    found = tables.read(tmp_path / PROBE_FILE, schemas.PROBE)
    assert sorted(found.step.unique()) == [0, 1, 3, 4]
    failing = 0
    training = trainer(tmp_path / "other", model, documents, 4, probe)
    with pytest.raises(MemoryError):
        training.train()


def test_training_is_the_same_with_a_probe(tmp_path, documents):
    ends = []
    for number, probe in enumerate([None, Probe(documents)]):
        torch.manual_seed(0)
        model = transformers.LlamaForCausalLM(tiny_llama(attention_dropout=0.2))
        trainer(tmp_path / str(number), model, documents, 5, probe, seed=3).train()
        ends.append(model.state_dict())
    assert all(torch.equal(value, ends[1][name]) for name, value in ends[0].items())


def test_resumed_training_continues_its_file(tmp_path, model, documents):
    probe = Probe(documents, signals=["max_norm"])
    trainer(tmp_path, model, documents, 7, probe).train()
    # The training resumes at the last checkpoint. Rows after this checkpoint belong to steps that
    # are trained again.
    trainer(tmp_path, model, documents, 9, probe).train(resume_from_checkpoint=True)
    found = tables.read(tmp_path / PROBE_FILE, schemas.PROBE)
    assert found[found.layer == 2].step.tolist() == list(range(10))


def test_record_without_readings_writes_no_file(tmp_path):
    Record(tmp_path / PROBE_FILE).save()
    assert not (tmp_path / PROBE_FILE).exists()
