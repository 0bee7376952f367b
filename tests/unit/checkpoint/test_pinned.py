"""Every tensor comes from the files of the manifest, or is computed by the class of the model."""

import json
import sys

import pytest
import torch
import transformers
from safetensors.torch import save_file

from helpers.models import tiny_bert, tiny_llama, tiny_neox
from shapesweep.checkpoint.files import inspect
from shapesweep.checkpoint.load import load
from shapesweep.errors import CheckpointError

#: Code whose buffers and tensors are not stored: a table of positions, a plain tensor, and a buffer
#: that could be stored.
CODE = """
import torch
from transformers import PreTrainedConfig, PreTrainedModel
from transformers.modeling_outputs import CausalLMOutput


class TableConfig(PreTrainedConfig):
    model_type = "table"

    def __init__(self, vocab_size=128, hidden_size=16, num_hidden_layers=3, **more):
        super().__init__(**more)
        self.vocab_size, self.hidden_size = vocab_size, hidden_size
        self.num_hidden_layers = num_hidden_layers


class TableForCausalLM(PreTrainedModel):
    config_class = TableConfig
    _keys_to_ignore_on_load_missing = ["scale"]

    def __init__(self, config):
        super().__init__(config)
        d = config.hidden_size
        self.emb = torch.nn.Embedding(config.vocab_size, d)
        self.blocks = torch.nn.ModuleList(
            [torch.nn.Linear(d, d) for _ in range(config.num_hidden_layers)]
        )
        table = 1.0 / (10000 ** (torch.arange(0, d, 2) / d))
        self.register_buffer("frequencies", table, persistent=False)
        self.register_buffer("scale", torch.full((d,), 0.5))
        self.shift = torch.linspace(-1, 1, d)
        self.head = torch.nn.Linear(d, config.vocab_size, bias=False)
        self.post_init()

    def _init_weights(self, module):
        if isinstance(module, torch.nn.Linear):
            module.weight.data.normal_(0, 0.02)

    def get_input_embeddings(self):
        return self.emb

    def get_output_embeddings(self):
        return self.head

    def forward(self, input_ids, output_hidden_states=False, **more):
        angles = torch.arange(input_ids.shape[1])[:, None] * self.frequencies
        x = self.emb(input_ids) + torch.cat([angles.sin(), angles.cos()], 1) + self.shift
        states = [x]
        for block in self.blocks:
            x = x + self.scale * block(x)
            states.append(x)
        return CausalLMOutput(logits=self.head(x), hidden_states=tuple(states))
"""


@pytest.fixture(autouse=True)
def _poison():
    """Fill new memory with NaN, so that uninitialised memory is found."""
    before = torch.are_deterministic_algorithms_enabled()
    torch.use_deterministic_algorithms(True)
    yield
    torch.use_deterministic_algorithms(before)


def states(model):
    batch = torch.arange(5, 21)[None]
    with torch.inference_mode():
        return model.eval()(input_ids=batch, output_hidden_states=True).hidden_states


def assert_same_states(first, second):
    for mine, theirs in zip(states(first), states(second), strict=True):
        torch.testing.assert_close(mine, theirs, rtol=0, atol=0)


def test_poisoned_memory_is_nan():
    assert torch.empty(3).isnan().all()


@pytest.fixture
def remote(tmp_path, monkeypatch):
    """A folder with code, and the model that was saved there."""
    monkeypatch.setenv("HF_MODULES_CACHE", str(tmp_path / "modules"))
    folder = tmp_path / "remote"
    folder.mkdir()
    (folder / "modeling_table.py").write_text(CODE, encoding="utf-8")
    monkeypatch.syspath_prepend(str(folder))
    import modeling_table

    torch.manual_seed(3)
    model = modeling_table.TableForCausalLM(modeling_table.TableConfig())
    del sys.modules["modeling_table"]
    weights = {name: value.clone() for name, value in model.state_dict().items() if name != "scale"}
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    auto_map = {"AutoConfig": "TableConfig", "AutoModelForCausalLM": "TableForCausalLM"}
    config = {
        "model_type": "table",
        "architectures": ["TableForCausalLM"],
        "auto_map": {name: f"modeling_table.{value}" for name, value in auto_map.items()},
    }
    (folder / "config.json").write_text(json.dumps(config), encoding="utf-8")
    return folder, model


def test_tensors_that_no_file_contains_are_computed_by_remote_code(remote):
    folder, model = remote
    for _ in range(2):
        assert_same_states(load(folder, remote_code=True), model)


def test_prefix_of_a_wrapper_is_removed_with_remote_code(remote):
    folder, model = remote
    model.scale.fill_(0.25)
    weights = {f"_orig_mod.{name}": value.clone() for name, value in model.state_dict().items()}
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    assert_same_states(load(folder, remote_code=True), model)


def test_stored_buffer_is_read(remote):
    folder, model = remote
    model.scale.fill_(0.25)
    weights = {name: value.clone() for name, value in model.state_dict().items()}
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    assert_same_states(load(folder, remote_code=True), model)


def test_weight_that_the_class_of_remote_code_ignores_is_not_left_uninitialised(remote):
    folder, _ = remote
    code = CODE.replace('["scale"]', '["scale", "gate"]').replace(
        "self.post_init()",
        "self.gate = torch.nn.Parameter(torch.ones(d))\n        self.post_init()",
    )
    (folder / "modeling_table.py").write_text(code, encoding="utf-8")
    with pytest.raises(CheckpointError, match="weights are missing: gate"):
        load(folder, remote_code=True)


def test_class_that_does_not_compute_a_tensor_again_is_refused(remote):
    folder, _ = remote
    # This class computes its table only once per process.
    cached = "self.shift = CACHE.setdefault(d, torch.arange(d) / d)"
    code = CODE.replace("self.shift = torch.linspace(-1, 1, d)", cached)
    (folder / "modeling_table.py").write_text(f"CACHE = {{}}\n{code}", encoding="utf-8")
    with pytest.raises(CheckpointError, match="tensor shift, and no file contains it"):
        load(folder, remote_code=True)


@pytest.mark.parametrize(
    "model",
    [
        transformers.LlamaForCausalLM(tiny_llama()),
        transformers.GPTNeoXForCausalLM(tiny_neox()),
        transformers.BertForMaskedLM(tiny_bert()),
        transformers.MptForCausalLM(
            transformers.MptConfig(vocab_size=300, d_model=16, n_layers=2, n_heads=2)
        ),
        transformers.GPTJForCausalLM(
            transformers.GPTJConfig(vocab_size=300, n_embd=16, n_layer=2, n_head=2, rotary_dim=4)
        ),
    ],
    ids=lambda model: type(model).__name__,
)
def test_models_of_transformers_are_the_same_in_every_load(tmp_path, model):
    model.save_pretrained(tmp_path)
    for _ in range(2):
        assert_same_states(load(tmp_path), model)


def test_other_files_of_the_folder_have_no_effect(tmp_path):
    model, other = (transformers.LlamaForCausalLM(tiny_llama()) for _ in range(2))
    model.save_pretrained(tmp_path)
    weights = {name: value.clone() for name, value in other.state_dict().items()}
    for name in ("other.safetensors", "model-00001-of-00001.safetensors"):
        save_file(weights, tmp_path / name, metadata={"format": "pt"})
    torch.save(weights, tmp_path / "pytorch_model.bin")
    index = {"weight_map": dict.fromkeys(weights, "other.safetensors")}
    for name in ("model.safetensors.index.json", "pytorch_model.bin.index.json"):
        (tmp_path / name).write_text(json.dumps(index), encoding="utf-8")
    assert_same_states(load(tmp_path), model)


def test_adapter_beside_the_weights_is_refused(tmp_path):
    # With peft, transformers would load the adapter, too, although it is not in the manifest.
    transformers.LlamaForCausalLM(tiny_llama()).save_pretrained(tmp_path)
    (tmp_path / "adapter_config.json").write_text("{}", encoding="utf-8")
    assert inspect(tmp_path).status == ("adapter_beside_weights",)
    with pytest.raises(CheckpointError, match="whole weights and an adapter"):
        load(tmp_path)


def test_other_name_of_the_weights_is_refused(tmp_path):
    transformers.LlamaForCausalLM(tiny_llama()).save_pretrained(tmp_path)
    path = tmp_path / "config.json"
    config = json.loads(path.read_text(encoding="utf-8"))
    text = json.dumps(config | {"transformers_weights": "other.safetensors"})
    path.write_text(text, encoding="utf-8")
    with pytest.raises(CheckpointError, match=r"transformers_weights names 'other\.safetensors'"):
        load(tmp_path)
