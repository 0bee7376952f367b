"""Sweeps of runs with restarts, of runs with loss explosions, and of runs still in training."""

import json

import numpy as np
import pandas as pd
import pytest
import torch
import transformers
import yaml

from helpers import miniature
from helpers.hub_suites import files, publish_run
from helpers.models import tiny_llama, trajectory
from helpers.workflow import (
    EMBEDDED,
    LLAMA,
    ROOT,
    complete,
    configure,
    plan,
    read,
    refused,
    settings,
    sweep,
    write,
)
from shapesweep.curves.tables import rows
from shapesweep.figures import EXTENSIONS
from shapesweep.storage import schemas, tables


def test_the_spikes_target_trains_measures_scores_and_draws(tmp_path, text_file):
    wild = {"learning_rate": 3.0, "warmup_steps": 60, "adam_epsilon": 0.01, "max_grad_norm": 0.0}
    wild |= {"weight_decay": 0.0}
    runs = {f"wild-{n}": {**wild, "seed": n, "model": LLAMA} for n in range(4)}
    calm = {"learning_rate": 1e-3, "model": LLAMA}
    runs |= {f"calm-{n}": {**calm, "seed": n} for n in range(4)}
    suite = EMBEDDED | {"batch_size": 8, "steps": [100], "runs": runs}
    suite["probe"] = {"every": 2, "documents": 8}
    suite["onset"] = {"every": 8, "before": 2, "after": 1}
    absent = {"none": {"source": "local", "runs": {"r": str(tmp_path / "absent")}}}
    write(tmp_path, settings(text_file, suites=absent, spikes={"suites": {"tiny": suite}}))
    complete(tmp_path, "spikes")
    spikes = read(tmp_path, "spikes/curves/spikes")
    exploded = spikes.set_index("run").onset
    assert exploded.notna().to_dict() == {run: run.startswith("wild") for run in runs}
    folder = tmp_path / "results/checkpoints/tiny"
    for run, onset in exploded.items():
        saved = sorted(int(p.name[11:]) for p in (folder / run).glob("checkpoint-*"))
        if pd.isna(onset):
            assert saved == [100]
        else:
            first = -(-onset // 8) * 8
            assert saved == [first - 16, first - 8, first]
    measured = read(tmp_path, "spikes/geometry")
    assert set(measured.corpus) == {"text"}
    assert measured.groupby("run").step.nunique().to_dict() == {
        run: 3 if run.startswith("wild") else 1 for run in runs
    }
    history = read(tmp_path, "spikes/history")
    assert {"loss", "gradient_norm", "id_twonn", "parameter_norm"} <= set(history.metric)
    scored = read(tmp_path, "spikes/curves/warnings")
    assert {"ID", "loss", "maximal norm", "kurtosis"} <= set(scored.family)
    text = (tmp_path / "results/spikes/warnings.md").read_text(encoding="utf-8")
    assert "The loss of 4 of 8 runs explodes" in text
    for name in ("early_warning", "approach"):
        for extension in EXTENSIONS:
            assert (tmp_path / f"results/spikes/figures/{name}.{extension}").stat().st_size
    assert "Nothing to be done" in sweep(tmp_path, "spikes").stdout


def test_published_spikes_are_laid_beside_checkpoints_without_a_spike(
    standin, tmp_path, text_file, tokenizers
):
    """The shipped configuration, with K2-Spike and PolyPythias in miniature."""
    tokenizer = files(tokenizers["decoder"], tmp_path / "t")
    steps = (186, 188, 190, 192)
    for seed, branch in enumerate(("spike_ckpt", "normal_ckpt")):
        for step, model in trajectory(tiny_llama(max_position_embeddings=512), steps, seed=seed):
            contents = files(model, tmp_path / "m") | tokenizer
            standin.add("LLM360/K2-Spike-2", f"{branch}_{step}", contents)
    # The first spike is not published in this test.
    run, shape = "EleutherAI/pythia-410m-seed3", miniature.CONFIGS["EleutherAI/"]
    publish_run(standin, run, (1000, 2000, 3000), tokenizers["decoder"], tmp_path, shape)
    rng = np.random.default_rng(0)
    losses = [
        (s, 3 + 0.01 * rng.standard_normal() + (1960 <= s < 2200)) for s in range(0, 3001, 20)
    ]
    lines = "".join(f"{step},{loss}\n" for step, loss in losses)
    (tmp_path / "seed3.csv").write_text(f"step,loss\n{lines}", encoding="utf-8")
    chosen = yaml.safe_load((ROOT / "config/k2-spike.yaml").read_text(encoding="utf-8"))
    chosen["suites"]["polypythias"] = chosen["spikes"]["suites"]["polypythias"] = {
        "only": ["pythia-410m-seed3"],
        "loss_files": {"pythia-410m-seed3": "seed3.csv"},
    }
    chosen |= {"checkpoints": "all", "geometry": {"n_points": 128, "groups": 4}, "device": "cpu"}
    chosen["corpus"]["text"] = str(text_file)
    write(tmp_path, chosen)
    complete(tmp_path, "spikes")
    spiked = read(tmp_path, "spikes/curves/spiked")
    k2 = spiked[spiked.suite == "k2-spike"]
    assert set(k2.run) == {"K2-Spike-2.spike_ckpt"}
    assert set(k2.reference) == {"K2-Spike-2.normal_ckpt"}
    assert set(k2.state) == {"in"}
    trajectories = read(tmp_path, "spikes/curves/trajectories")
    wanted = {"layers": "middle", "metric": "id_twonn", "selection": "no_first", "corpus": "text"}
    by_run = rows(trajectories, **wanted).set_index(["run", "step"]).value
    mine = k2[(k2.metric == "id_twonn") & (k2.corpus == "text")].set_index("step")
    assert sorted(mine.index) == list(steps)
    for step, row in mine.iterrows():
        assert row.value == by_run["K2-Spike-2.spike_ckpt", step]
        assert row.reference_value == by_run["K2-Spike-2.normal_ckpt", step]
    pythia = spiked[(spiked.suite == "polypythias") & (spiked.metric == "anisotropy")]
    states = pythia.drop_duplicates("step").set_index("step")
    assert states.state.to_dict() == {1000: "before", 2000: "in", 3000: "after"}
    assert states.loss[2000] == pytest.approx(4, abs=0.1)
    report = (tmp_path / "results/spikes/warnings.md").read_text(encoding="utf-8")
    assert "## Checkpoints before and in loss spikes" in report
    assert "| K2-Spike-2.normal_ckpt | `id_twonn` of text, no_first | 186 to 192 | " in report
    assert "No signal is scored" in report
    assert (tmp_path / "results/spikes/figures/spiked.png").stat().st_size
    assert "Nothing to be done" in sweep(tmp_path, "spikes").stdout


def write_checkpoint(folder, step, seed=0, losses=()):
    """Write a checkpoint in the layout of transformers.Trainer."""
    torch.manual_seed(seed)
    model = transformers.LlamaForCausalLM(tiny_llama())
    with torch.no_grad():
        for weights in model.parameters():
            weights += 1e-3 * step * torch.randn_like(weights)
    model.save_pretrained(folder / f"checkpoint-{step}")
    state = json.dumps({"log_history": [{"step": s, "loss": v} for s, v in losses]})
    (folder / f"checkpoint-{step}/trainer_state.json").write_text(state, encoding="utf-8")


@pytest.fixture
def live(tmp_path, text_file, tokenizers):
    """A run with two checkpoints, and its configuration."""
    folder = tmp_path / "run"
    for step in (10, 20):
        write_checkpoint(folder, step, losses=[(s, 6.0 - s / 100) for s in range(5, step + 1, 5)])
    tokenizers["decoder"].save_pretrained(folder)
    suites = {"mine": {"source": "local", "runs": {"r": "run"}}}
    write(tmp_path, settings(text_file, suites=suites, corpora=["text"]))
    return tmp_path


def test_a_running_training_is_followed(live):
    complete(live, "numbers")
    losses = read(live, "losses")
    assert losses[losses.source == "log"].step.tolist() == [5, 10, 15, 20]
    # Add a new checkpoint, an unfinished checkpoint, and the measurements of a probe.
    write_checkpoint(live / "run", 30, losses=[(s, 6.0 - s / 100) for s in range(5, 31, 5)])
    (live / "run/tmp-checkpoint-40").mkdir()
    row = dict.fromkeys(schemas.PROBE.names) | {"step": 30, "metric": "kurtosis", "value": 3.0}
    tables.write([row], schemas.PROBE, live / "run/probe.parquet")
    jobs = plan(live, "numbers")
    assert (jobs["geometry"], jobs["history"]) == (1, 1)
    complete(live, "numbers")
    losses = read(live, "losses")
    assert losses[losses.source == "log"].step.tolist() == [5, 10, 15, 20, 25, 30]
    assert read(live, "history").query("source == 'probe'").step.tolist() == [30]
    assert sorted(set(read(live, "geometry").step)) == [10, 20, 30]
    # If only the log gets longer, no measurement is repeated.
    state_file = live / "run/checkpoint-30/trainer_state.json"
    state = json.loads(state_file.read_text(encoding="utf-8"))
    state["log_history"].append({"step": 31, "loss": 5.0})
    state_file.write_text(json.dumps(state), encoding="utf-8")
    jobs = plan(live, "numbers")
    assert jobs["history"] == 1 and "geometry" not in jobs


def test_a_log_file_provides_the_training_loss(live):
    (live / "log.csv").write_text("step,loss\n1,5.9\n2,5.8\n", encoding="utf-8")
    configure(live, {"suites.mine.runs.r": {"path": "run", "losses": "log.csv"}})
    complete(live, "numbers")
    losses = read(live, "losses")
    assert losses[losses.source == "log"].value.tolist() == [5.9, 5.8]
    (live / "log.csv").unlink()
    message = "suites.mine.runs.r.losses: there is no file log.csv"
    assert message in refused(live, "numbers")


def test_only_the_restart_is_flagged_in_the_manifest(tmp_path, text_file, tokenizers):
    """The weights follow a random walk, which begins again before the fifth checkpoint."""
    folder, rng = tmp_path / "run", np.random.default_rng(0)
    torch.manual_seed(0)
    model = transformers.LlamaForCausalLM(tiny_llama())
    for step in range(0, 80, 10):
        if step == 40:
            model = transformers.LlamaForCausalLM.from_pretrained(folder / "checkpoint-0")
        with torch.no_grad():
            for weights in model.parameters():
                moved = torch.from_numpy(rng.standard_normal(tuple(weights.shape)))
                # The restart moves the weights as far as fifty steps of the random walk would.
                weights += moved.float() * 0.002 * (50**0.5 if step == 40 else 1)
        model.save_pretrained(folder / f"checkpoint-{step}")
    tokenizers["decoder"].save_pretrained(folder)
    suites = {"mine": {"source": "local", "runs": {"r": "run"}}}
    write(tmp_path, settings(text_file, suites=suites, corpora=["text"], checkpoints_per_job=8))
    output = complete(tmp_path, "numbers")
    manifest = read(tmp_path, "manifest")
    status = {row.step: list(row.status) for row in manifest.itertuples()}
    assert status == {step: ["break"] if step == 40 else [] for step in range(0, 80, 10)}
    continuity = read(tmp_path, "continuity")
    assert set(continuity[continuity.step == 40].flag) == {"break"}
    assert set(continuity.tensor_class) == {"embedding", "attention", "feed_forward", "head"}
    assert continuity[continuity.step == 30].correlation.min() > 0.99
    trajectories = read(tmp_path, "curves/trajectories")
    assert trajectories.groupby("step").segment.first().to_dict() == {
        step: int(step >= 40) for step in range(0, 80, 10)
    }
    assert "doubtful: mine/r/checkpoint-40: break" in output
