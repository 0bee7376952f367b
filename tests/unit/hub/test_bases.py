"""Base models of adapters are fetched into the cache of the Hub's client, and verified."""

import json
import shutil

import pytest

from helpers.adapters import save_adapter, save_base
from helpers.standin import serving_here
from shapesweep import cli
from shapesweep.config import files as config_files
from shapesweep.errors import ShapesweepError
from shapesweep.hub import bases, client
from shapesweep.manifest import checkpoints
from shapesweep.plan.workflow import Plan

MODEL = {"config.json": b'{"model_type": "llama"}', "model.safetensors": b"weights" * 90}
UNREAD = {"pytorch_model.bin": b"pickle", "sub/config.json": b"{}", "modeling.py": b"code"}
ABSENT = "0123456789" * 4


@pytest.fixture
def hub(monkeypatch, tmp_path):
    monkeypatch.delenv("HF_TOKEN", raising=False)
    monkeypatch.setattr(client, "_wait", lambda _state: 0.0)
    with serving_here(monkeypatch, tmp_path / "cache") as standin:
        yield standin


@pytest.fixture
def base(hub):
    return f"org/base@{hub.add('org/base', 'v1', {**MODEL, 'tokenizer.json': b'{}', **UNREAD})}"


def downloads(hub):
    return [path for method, path in hub.asked if method == "GET" and "/resolve/" in path]


def test_base_is_fetched_into_the_cache_once(hub, base):
    hub.add("org/base", files={"config.json": b"another model"})
    folder = bases.fetch(base)
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == {
        **MODEL,
        "tokenizer.json": b"{}",
    }
    assert len(downloads(hub)) == 3
    assert bases.fetch(base) == folder
    assert len(downloads(hub)) == 3


def test_damaged_file_of_the_cache_is_fetched_again(hub, base):
    weights = bases.fetch(base) / "model.safetensors"
    weights.resolve().write_bytes(b"damaged" * 90)
    assert bases.fetch(base) == weights.parent
    assert weights.read_bytes() == MODEL["model.safetensors"]
    assert len(downloads(hub)) == 4


@pytest.mark.parametrize(
    ("files", "reason"),
    [
        ({"config.json": b"{}"}, "org/base: missing_weights"),
        ({"model.safetensors": b"x"}, "org/base: missing_config"),
        ({**MODEL, "adapter_config.json": b"{}"}, "org/base: adapter_beside_weights"),
        (None, "org/base: the revision no longer exists"),
    ],
)
def test_base_that_cannot_be_fetched_is_refused_with_the_reason(hub, files, reason):
    commit = hub.add("org/base", "v1", files or MODEL) if files else ABSENT
    hub.add("org/base", files=MODEL)
    with pytest.raises(ShapesweepError, match=reason) as caught:
        bases.fetch(f"org/base@{commit}")
    assert "network" not in str(caught.value)
    assert not downloads(hub)


def test_advice_for_a_machine_without_a_network(hub, base):
    hub.scripted = lambda: ("503", {})
    with pytest.raises(ShapesweepError, match=r"failed in all 8 attempts \(HTTP 503\)") as caught:
        bases.fetch(base)
    name, _, commit = base.partition("@")
    assert f"`hf download {name} --revision {commit} --local-dir <folder>`" in str(caught.value)


def test_command_checks_an_adapter_with_its_base_on_the_hub(hub, tmp_path, capsys):
    save_base(tmp_path / "base")
    adapter = tmp_path / "adapter"
    save_adapter(adapter, tmp_path / "base", target_modules=["q_proj"])
    commit = hub.add("org/base", files=tmp_path / "base")
    assert cli.main(["checkpoint", str(adapter), "--base", f"org/base@{commit}"]) == 0
    assert capsys.readouterr().out.startswith(f"{adapter}: LlamaForCausalLM (decoder), 3 blocks")
    assert cli.main(["checkpoint", str(adapter), "--base", f"org/base@{ABSENT}"]) == 2
    assert f"base: cannot fetch org/base@{ABSENT}: org/base: the" in capsys.readouterr().err
    hub.asked.clear()
    typo = str(tmp_path / "adaptor")
    assert cli.main(["checkpoint", typo, "--base", f"org/base@{commit}"]) == 2
    assert capsys.readouterr().err == f"shapesweep: error: {typo}: there is no such folder\n"
    assert not hub.asked


def suite(folder, base):
    text = {"source": "local", "base": base, "runs": {"r": str(folder), "own": str(folder)}}
    text["runs"]["own"] = {"path": str(folder), "base": str(folder / "checkpoint-1")}
    return config_files.validate({"suites": {"s": text}})


def test_suite_lists_its_base_from_the_file_that_the_command_writes(hub, base, tmp_path, capsys):
    run, results = tmp_path / "run", tmp_path / "results"
    (run / "checkpoint-1").mkdir(parents=True)
    (run / "checkpoint-1/config.json").write_bytes(b"{}")
    config = suite(run, base)
    definition, plan = config.suites["s"], Plan(config, results)
    assert definition.bases_on_hub == [base]
    assert plan.listable == ["s"]
    with pytest.raises(ShapesweepError, match=r"s\.json: no such file; run snakemake first"):
        plan.listed("s")

    out = checkpoints.listing_file(results, "s")
    arguments = ["--definition", definition.model_dump_json(), "--suite", "s"]
    arguments += ["--results", str(results), "--out", str(out)]
    assert cli.main(["listing", *arguments]) == 0
    folder = bases.fetch(base)
    assert [found.folder for found in plan.listed("s") if found.run == "r"] == [
        *(folder, run / "checkpoint-1")
    ]
    assert [found.folder.name for found in plan.listed("s") if found.run == "own"] == [
        *("checkpoint-1", "checkpoint-1")
    ]

    shutil.rmtree(folder)
    with pytest.raises(
        ShapesweepError, match=r"is no longer in .*; to fetch it again, remove .*s\.json"
    ) as caught:
        Plan(config, results).listed("s")
    assert base in str(caught.value)
    out.write_text(json.dumps({base: 3}), encoding="utf-8")
    with pytest.raises(ShapesweepError, match=r"s\.json: damaged"):
        Plan(config, results).listed("s")


def test_suite_without_a_base_on_the_hub_needs_no_listing(tmp_path):
    config = suite(tmp_path, str(tmp_path))
    assert config.suites["s"].bases_on_hub == []
    assert Plan(config, tmp_path).listable == []
