"""A sweep over the LoRA adapters that a Trainer saves."""

import shutil

import pandas as pd
import peft
import torch
import transformers

from helpers.adapters import outputs, save_base
from helpers.workflow import complete, plan, read, refused, settings, write
from shapesweep.checkpoint.load import load


def train(folder, base, tokenizer):
    """Train a LoRA adapter for four steps, and save every second step."""
    torch.manual_seed(3)
    model = transformers.AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32)
    lora = peft.LoraConfig(r=4, lora_alpha=8, target_modules=["q_proj"], task_type="CAUSAL_LM")
    documents = [{"input_ids": ids, "labels": ids} for ids in torch.randint(5, 300, (32, 16))]
    arguments = transformers.TrainingArguments(
        output_dir=str(folder),
        max_steps=4,
        save_steps=2,
        logging_steps=1,
        learning_rate=0.05,
        use_cpu=True,
        report_to=[],
        disable_tqdm=True,
    )
    adapted = peft.get_peft_model(model, lora)
    trainer = transformers.Trainer(
        adapted, arguments, train_dataset=documents, processing_class=tokenizer
    )
    trainer.train()
    return adapted.eval()


def test_adapters_of_a_trainer_are_a_sweep_with_the_base_as_step_0(tmp_path, text_file, tokenizers):
    base, run = tmp_path / "base", tmp_path / "run"
    save_base(base)
    adapted = train(run, base, tokenizers["decoder"])
    tokenizers["decoder"].save_pretrained(base)
    assert not list(run.rglob("model.safetensors"))
    merged = load(run / "checkpoint-4", base=base)
    # Both compute in float32, in another order. States are of order 1.
    for mine, theirs in zip(outputs(merged), outputs(adapted), strict=True):
        torch.testing.assert_close(mine, theirs, rtol=0, atol=2e-5)

    suite = {"source": "local", "runs": {"r": {"path": "run", "base": "base"}}}
    write(tmp_path, settings(text_file, suites={"s": suite}))
    complete(tmp_path, "numbers")
    assert read(tmp_path, "failures").empty
    manifest = read(tmp_path, "manifest")
    assert manifest.revision.tolist() == ["base", "checkpoint-2", "checkpoint-4"]
    assert manifest.step.tolist() == [0, 2, 4]
    assert manifest.status.map(len).eq(0).all()
    geometry = read(tmp_path, "geometry")
    by_step = geometry[
        (geometry.metric == "participation_ratio")
        & (geometry.layer == 3)
        & (geometry.layer_kind == "block")
        & (geometry.corpus == "text")
        & (geometry.selection == "all")
    ].set_index("step")
    # The adapter changes only attention, so the states of the last block change at every step.
    assert by_step.value.loc[[0, 2, 4]].nunique() == 3
    embeddings = geometry.query(
        "metric == 'participation_ratio' and layer == 0 and corpus == 'text' and selection == 'all'"
    )
    assert embeddings.value.nunique() == 1
    losses = read(tmp_path, "history").query("metric == 'loss'")
    assert losses.step.tolist() == [1, 2, 3, 4]

    assert "geometry" not in plan(tmp_path, "numbers")
    save_base(base, max_position_embeddings=128)
    assert plan(tmp_path, "numbers")["geometry"] == 1


def test_base_on_the_hub_gives_the_numbers_of_its_folder(tmp_path, text_file, tokenizers, standin):
    base, run = tmp_path / "base", tmp_path / "run"
    save_base(base)
    train(run, base, tokenizers["decoder"])
    tokenizers["decoder"].save_pretrained(base)
    published = f"org/base@{standin.add('org/base', 'v1', base)}"
    standin.add("org/base", files={"README.md": b"the commit v1 is not on this branch"})
    here = {"source": "local", "runs": {"r": {"path": "run", "base": "base"}}}
    there = {"source": "local", "base": published, "runs": {"r": "run"}}
    write(tmp_path, settings(text_file, suites={"here": here, "there": there}, corpora=["text"]))
    complete(tmp_path, "numbers")
    assert read(tmp_path, "failures").empty
    keys = ["revision", "layer", "layer_kind", "corpus", "selection", "metric"]
    geometry = read(tmp_path, "geometry")
    mine, theirs = (
        geometry[geometry.suite == suite].set_index(keys).value.sort_index()
        for suite in ("here", "there")
    )
    assert set(geometry.revision) == {"base", "checkpoint-2", "checkpoint-4"}
    pd.testing.assert_series_equal(mine, theirs, rtol=0, atol=0)
    assert not plan(tmp_path, "numbers")

    shutil.rmtree(tmp_path / "hf")
    message = refused(tmp_path, "numbers")
    assert f"base: {published} is no longer in" in message
    (tmp_path / "results/listings/there.json").unlink()
    assert complete(tmp_path, "numbers")


def test_adapters_without_a_base_are_named_with_advice(tmp_path, text_file, tokenizers):
    base, run = tmp_path / "base", tmp_path / "run"
    save_base(base)
    train(run, base, tokenizers["decoder"])
    save_base(run / "checkpoint-9")
    tokenizers["decoder"].save_pretrained(run)
    write(tmp_path, settings(text_file, suites={"s": {"source": "local", "runs": {"r": "run"}}}))
    complete(tmp_path, "numbers")
    failures = read(tmp_path, "failures")
    assert failures.revision.tolist() == ["checkpoint-2", "checkpoint-4"]
    assert failures.reason.str.startswith("adapter_without_base: set the key base of the run").all()
    assert failures.reason.str.contains(f"({base}): a folder", regex=False).all()
    assert read(tmp_path, "geometry").revision.unique().tolist() == ["checkpoint-9"]
