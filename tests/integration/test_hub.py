"""Sweeps of suites on a stand-in for the Hub: all modes and all faults."""

import contextlib
import json
import os
import threading
from pathlib import Path

import pandas as pd
import pytest
import transformers
import yaml

from helpers.hub_suites import CLUTTER, changed, files, pickled, publish_all, tiny_neox, trajectory
from helpers.standin import StandIn
from helpers.workflow import ROOT, job, plan, settings, sweep, write
from shapesweep.storage import schemas, tables

NEOX = {"source": "hub", "mode": "branches", "match": r"step(?P<step>\d+)"}


@pytest.fixture
def hub(tmp_path, monkeypatch):
    """The stand-in. For the program, only the address of the Hub changes."""
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hf"))
    monkeypatch.delenv("HF_TOKEN", raising=False)
    with StandIn() as standin:
        monkeypatch.setenv("HF_ENDPOINT", standin.url)
        yield standin


def failures(folder):
    table = tables.read(folder / "results/failures.parquet", schemas.FAILURES)
    return {(row.revision, row.step): row.reason for row in table.itertuples()}


def test_suites_of_all_six_modes_are_measured(hub, tmp_path, text_file, tokenizers):
    suites = publish_all(hub, tokenizers, tmp_path)
    folder = tmp_path / "sweep"
    folder.mkdir()
    write(folder, settings(text_file, suites=suites, corpora=["text"]))
    done = sweep(folder, "numbers")
    assert done.returncode == 0, done.stdout
    assert set(failures(folder).values()) == {"empty_main"}, done.stdout
    fetched = {path.rpartition("/")[2] for method, path in hub.asked if method == "GET"}
    assert not fetched & set(CLUTTER)

    geometry = tables.read(folder / "results/geometry.parquet", schemas.GEOMETRY)
    runs = geometry.groupby("suite").run.unique().map(list).to_dict()
    assert runs == {
        **{"neox": ["neox"], "bloom": ["bloom-intermediate"], "berts": ["seed_3"]},
        **{"either": ["either"], "folders": ["folders"], "commits": ["commits"]},
    }
    checkpoints = geometry.drop_duplicates(["suite", "step"]).set_index(["suite", "step"])
    assert sorted(checkpoints.loc["neox"].tokens) == [0, 512, 4096]
    assert sorted(checkpoints.loc["berts"].tokens) == [0, 4_096_000]
    assert checkpoints.loc["berts"].seed.tolist() == [3, 3]
    assert checkpoints.loc["either"].tokens.to_dict() == {0: 100, 8: 300}
    assert sorted(checkpoints.loc["folders"].tokens) == [5e8, 85e8]
    assert checkpoints.loc["commits"].revision.str.fullmatch("[0-9a-f]{40}").all()
    manifest = tables.read(folder / "results/manifests/neox.parquet", schemas.MANIFEST)
    names = {row.revision: [file["path"] for file in row.files] for row in manifest.itertuples()}
    assert names["step0"] == ["config.json", "model.safetensors"]
    assert names["step1"] == ["config.json", "pytorch_model.bin"]
    assert names["step8"][:2] == ["config.json", "model.safetensors.index.json"]
    assert len(names["step8"]) > 3
    assert not list((folder / "results/checkpoints").rglob("*.safetensors"))

    # A second run needs no request and no job.
    hub.asked = []
    assert "Nothing to be done" in sweep(folder, "numbers").stdout
    assert not hub.asked


def test_faults_of_the_hub_do_not_change_downloaded_files(hub, tmp_path, text_file, tokenizers):
    """Everything that is measured depends only on listings and downloads."""
    suites = publish_all(hub, tokenizers, tmp_path)
    fetched = {}
    for rate in (0.0, 0.2):
        folder = tmp_path / f"faults {rate}"
        folder.mkdir()
        write(folder, settings(text_file, suites=suites, corpora=["text"]))
        hub.fault_rate = rate
        done = sweep(folder, "manifests")
        assert done.returncode == 0, done.stdout
        for suite in suites:
            manifest = tables.read(folder / f"results/manifests/{suite}.parquet", schemas.MANIFEST)
            chosen = manifest[manifest.selected]
            (run,) = set(chosen.run)
            tokenizer = f"fetched/{suite}-tokenizer"
            definition = json.dumps(suites[suite])
            options = ["--definition", definition, "--suite", suite, "--run", run]
            job(folder, "tokenizer", *options, "--results", "results", "--out", tokenizer)
            options = ["--settings", "results/config.yaml", "--run", run, "--room", 10**9]
            options += ["--manifest", f"results/manifests/{suite}.parquet"]
            options += ["--tokenizer", tokenizer]
            revisions = ["--revision", *chosen.revision]
            out = f"fetched/downloads/a/b/{suite}/c"
            job(folder, "download", *options, *revisions, "--out", out)
        files = [path for path in (folder / "fetched").rglob("*") if path.is_file()]
        fetched[rate] = {path.relative_to(folder): path.read_bytes() for path in files}
    assert sum(path.suffix in (".safetensors", ".bin") for path in fetched[0.0]) >= 13
    assert fetched[0.0] == fetched[0.2]
    assert hub.n_faults > 30


def test_defective_checkpoints_are_skipped_and_reported(hub, tmp_path, text_file, tokenizers):
    steps = [0, 1, 2, 4, 8, 16, 32, 64, 128, 256, 512]
    tokenizer = files(tokenizers["decoder"], tmp_path / "t")
    published = {
        step: files(model, tmp_path / "m", "sharded")
        for step, model in trajectory(tiny_neox(), steps)
    }
    shard = next(name for name in sorted(published[2]) if name.startswith("model-00001"))
    published[4][shard] = published[2][shard]
    (_, unrelated), *_ = trajectory(tiny_neox(), [0, 1], seed=99)
    published[32] = files(unrelated, tmp_path / "m")
    del published[128][shard]
    published[256] = files(unrelated, tmp_path / "m")
    published[256]["model.safetensors"] = changed(
        published[256]["model.safetensors"],
        lambda weights: weights.update(wrong=weights.pop("gpt_neox.final_layer_norm.weight")),
    )
    Evil.created = tmp_path / "created"
    pickle = {"pytorch_model.bin": pickled(Evil())}
    published[512] = {"config.json": published[0]["config.json"]} | pickle
    for step, contents in published.items():
        hub.add("Org/neox", f"step{step}", contents | tokenizer)
    (_, another), *_ = trajectory(tiny_neox(), [0, 1], seed=100)
    deleted = hub.add("Org/neox", "step1024", files(another, tmp_path / "m") | tokenizer)
    folder = tmp_path / "sweep"
    folder.mkdir()
    suite = {**NEOX, "repositories": ["Org/neox"], "grid": [0, 1, 2, 3]}
    write(folder, settings(text_file, suites={"neox": suite}, corpora=["text"]))

    done = sweep(folder, "manifests")
    assert done.returncode == 0, done.stdout
    assert "neox: checkpoints 12, runs 1, " in done.stdout
    assert "holes 1, defects 4" in done.stdout
    for message in ("shares_file_with: neox/step2, neox/step4", "missing_weights: neox/step128"):
        assert message in done.stdout
    # A revision is deleted between the listing and the download.
    del hub.repositories["Org/neox"].commits[deleted]

    done = sweep(folder, "numbers")
    assert done.returncode == 0, done.stdout
    assert "Traceback" not in done.stdout
    reasons = failures(folder)
    assert reasons["step2", 2] == "shares_file_with:step4"
    assert reasons["step4", 4] == "shares_file_with:step2"
    assert reasons["step32", 32].startswith("discontinuous: ")
    assert reasons["step128", 128] == f"missing_weights:{shard}"
    assert "weights are missing: gpt_neox.final_layer_norm.weight" in reasons["step256", 256]
    assert reasons["step512", 512] == "its pickle contains more than tensors, and is not read"
    assert reasons["step1024", 1024] == "Org/neox: the revision no longer exists"
    assert reasons["main", pd.NA] == "empty_main"
    assert not Evil.created.exists()
    geometry = tables.read(folder / "results/geometry.parquet", schemas.GEOMETRY)
    assert set(geometry.revision) == {"step0", "step1", "step8", "step16", "step64"}
    summary = (folder / "results/summary.txt").read_text(encoding="utf-8")
    for step in (2, 4, 32, 128, 256, 512, 1024):
        assert f"not measured: neox/neox/step{step}:" in summary
    assert "not measured: neox/neox/step 3: hole" in summary
    again = plan(folder, "numbers")
    assert not again.keys() & {"download", "geometry"}


class Evil:
    """An object that creates a file when it is unpickled."""

    created: Path

    def __reduce__(self):
        return (os.system, (f"touch '{self.created}'",))


def test_the_papers_figures_are_drawn_for_the_available_models(
    hub, tmp_path, text_file, tokenizers
):
    shape = {"hidden_size": 16, "ffn_dim": 32, "num_hidden_layers": 3, "num_attention_heads": 2}
    limits = {"vocab_size": 300, "max_position_embeddings": 600, "word_embed_proj_dim": 16}
    (_, model), *_ = trajectory(transformers.OPTConfig(**shape, **limits), [0, 1])
    tokenizer = files(tokenizers["decoder"], tmp_path / "t")
    hub.add("facebook/opt-125m", "main", files(model, tmp_path / "m") | tokenizer)
    folder = tmp_path / "paper"
    folder.mkdir()
    # The shipped configuration, without its text and most of its models, which are not available.
    chosen = yaml.safe_load((ROOT / "config/paper.yaml").read_text(encoding="utf-8"))
    chosen["suites"] = {
        "paper": {"repositories": ["facebook/opt-125m", "meta-llama/Llama-2-7b-hf"]}
    }
    chosen["corpus"]["text"] = str(text_file)
    write(folder, {**chosen, "geometry": {"n_points": 100, "groups": 4}, "device": "cpu"})

    done = sweep(folder, "paper")
    assert done.returncode == 0, done.stdout
    comparison = pd.read_csv(folder / "results/figures/comparison.csv")
    verdicts = comparison.groupby("run").verdict.agg(set).to_dict()
    # The tokens differ from those of the paper, so the numbers cannot be compared.
    assert "other sampling" in verdicts["opt-125m"]
    assert verdicts["Llama-2-7b-hf"] == {"not run"}
    text = (folder / "results/comparison.md").read_text(encoding="utf-8")
    assert "| Llama-2-7b-hf | anisotropy | 31 | 0.06 | 0.010 |  | not run |" in text


def test_failed_requests_are_repeated_by_the_next_sweep(hub, tmp_path, text_file, tokenizers):
    tokenizer = files(tokenizers["decoder"], tmp_path / "t")
    for step, model in trajectory(tiny_neox(), [0, 1]):
        hub.add("Org/neox", f"step{step}", files(model, tmp_path / "m") | tokenizer)
    folder = tmp_path / "sweep"
    folder.mkdir()
    suite = {**NEOX, "repositories": ["Org/neox"]}
    write(folder, settings(text_file, suites={"neox": suite}, corpora=["text"]))
    broken = f"/Org/neox/resolve/{hub.repositories['Org/neox'].branches['step1']}/model.safetensors"
    hub.broken.add(broken)
    done = sweep(folder, "numbers")
    assert done.returncode == 0, done.stdout
    assert "has not answered" in failures(folder)["step1", 1]
    assert plan(folder, "numbers")["download"] == 1
    reported = sweep(folder, "numbers", "--report", str(folder / "report.zip"))
    assert reported.returncode == 0, reported.stdout
    hub.broken.clear()
    done = sweep(folder, "numbers")
    assert done.returncode == 0, done.stdout
    assert set(failures(folder).values()) == {"empty_main"}
    assert "Nothing to be done" in sweep(folder, "numbers").stdout


def test_shards_of_measured_checkpoints_can_be_kept_later(hub, tmp_path, text_file, tokenizers):
    tokenizer = files(tokenizers["decoder"], tmp_path / "t")
    for step, model in trajectory(tiny_neox(), [0, 1]):
        hub.add("Org/neox", f"step{step}", files(model, tmp_path / "m") | tokenizer)
    folder = tmp_path / "sweep"
    folder.mkdir()
    suites = {"neox": {**NEOX, "repositories": ["Org/neox"]}}
    for keep in (False, True):
        write(folder, settings(text_file, suites=suites, corpora=["text"], keep_activations=keep))
        done = sweep(folder, "numbers")
        assert done.returncode == 0, done.stdout
        assert set(failures(folder).values()) == {"empty_main"}
        kept = list((folder / "results/activations").glob("neox/neox/*/*/text"))
        assert len(kept) == (2 if keep else 0)
    assert "Nothing to be done" in sweep(folder, "numbers").stdout


def test_a_repository_that_cannot_be_listed_is_reported_in_one_line(hub, tmp_path, text_file):
    folder = tmp_path / "sweep"
    folder.mkdir()
    suite = {**NEOX, "repositories": ["Org/neox"]}
    # The budget of a missing checkpoint does not stop the sweep.
    budget = {"checkpoints": {"neox": "last"}}
    write(folder, settings(text_file, suites={"neox": suite}, budget=budget))
    done = sweep(folder, "numbers")
    assert done.returncode == 0, done.stdout
    reason = "Org/neox: there is no such repository, or it is private (set HF_TOKEN or run `hf auth"
    assert f"not measured: neox/neox: not_listed: {reason}" in done.stdout
    write(folder, settings(text_file, suites={"neox": suite}, hub={"disk_gb": 1e-6}))
    for step, model in trajectory(tiny_neox(), [0]):
        hub.add("Org/neox", f"step{step}", files(model, tmp_path / "m"))
    done = sweep(folder, "numbers", "--forcerun", "listing")
    assert "hub.disk_gb: neox/neox/step0 needs" in done.stdout
    assert "Traceback" not in done.stdout


def test_downloads_stay_within_the_disk_budget(hub, tmp_path, text_file, tokenizers):
    tokenizer = files(tokenizers["decoder"], tmp_path / "t")
    for step, model in trajectory(tiny_neox(64), range(8)):
        hub.add("Org/neox", f"step{step}", files(model, tmp_path / "m") | tokenizer)
    size = sum(path.stat().st_size for path in (tmp_path / "m").iterdir())
    folder = tmp_path / "sweep"
    folder.mkdir()
    suite = {**NEOX, "repositories": ["Org/neox"]}
    # Enough for about four checkpoints, or for two with their shards.
    budget = 4 * size
    more = {"corpora": ["text"], "hub": {"disk_gb": budget / 1e9, "downloads": 4}}
    write(folder, settings(text_file, suites={"neox": suite}, **more))

    sizes, finished = [], threading.Event()

    def watch():
        while not finished.wait(0.02):
            sizes.append(on_disk(folder / "results"))

    watching = threading.Thread(target=watch)
    watching.start()
    done = sweep(folder, "numbers")
    finished.set()
    watching.join()
    assert done.returncode == 0, done.stdout
    geometry = tables.read(folder / "results/geometry.parquet", schemas.GEOMETRY)
    assert geometry.revision.nunique() == 8
    assert len(sizes) > 100
    assert size < max(sizes) <= budget


def on_disk(results):
    """Return the size of all checkpoints and shards on the disk, in bytes."""
    total = 0
    for kind in ("checkpoints", "activations"):
        # os.walk ignores folders that are removed in the meantime.
        for path, _, names in os.walk(results / kind):
            for name in names:
                with contextlib.suppress(FileNotFoundError):
                    total += (Path(path) / name).lstat().st_size
    return total


def test_a_published_log_provides_the_training_loss(hub, tmp_path, text_file, tokenizers):
    tokenizer = files(tokenizers["decoder"], tmp_path / "t")
    for step, model in trajectory(tiny_neox(), (0, 8)):
        hub.add("lab/lucie", f"step{step}", files(model, tmp_path / "m") | tokenizer)
    table = (
        b"training_steps,training_tokens,training_loss,learning_rate\n4,9,5.5,0.1\n8,9,5.25,0.1\n"
    )
    hub.add("lab/lucie", "main", {"metadata/training_logs/1_pretraining.csv": table})
    suite = NEOX | {"repositories": ["lab/lucie"]}
    suite["losses"] = {"lucie": "metadata/training_logs/1_pretraining.csv"}
    write(tmp_path, settings(text_file, suites={"lucie": suite}, corpora=["text"]))
    done = sweep(tmp_path, "numbers")
    assert done.returncode == 0, done.stdout
    losses = tables.read(tmp_path / "results/losses.parquet", schemas.LOSSES)
    logged = losses[losses.source == "log"]
    assert (logged.step.tolist(), logged.value.tolist()) == ([4, 8], [5.5, 5.25])
    # A missing log does not stop the sweep.
    suite["losses"] = {"lucie": "metadata/absent.csv"}
    write(tmp_path, settings(text_file, suites={"lucie": suite}, corpora=["text"]))
    done = sweep(tmp_path, "numbers")
    assert done.returncode == 0, done.stdout
    assert "absent.csv" in (tmp_path / "results/logs/history/lucie.log").read_text(encoding="utf-8")
    losses = tables.read(tmp_path / "results/losses.parquet", schemas.LOSSES)
    assert set(losses.source) == {"eval"}
