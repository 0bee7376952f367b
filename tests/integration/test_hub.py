"""The real Snakefile on a Hub that speaks the real protocol: every mode, every fault."""

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
    """The stand-in; all that changes for the program is where the Hub is."""
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hf"))
    monkeypatch.delenv("HF_TOKEN", raising=False)
    with StandIn() as standin:
        monkeypatch.setenv("HF_ENDPOINT", standin.url)
        yield standin


def failures(folder):
    found = tables.read(folder / "results/failures.parquet", schemas.FAILURES)
    return {(row.revision, row.step): row.reason for row in found.itertuples()}


def test_suites_of_all_six_modes_are_measured(hub, tmp_path, text_file, tokenizers):
    suites = publish_all(hub, tokenizers, tmp_path)
    folder = tmp_path / "sweep"
    folder.mkdir()
    write(folder, settings(text_file, suites=suites, corpora=["text"]))
    done = sweep(folder, "numbers")
    assert done.returncode == 0, done.stdout
    assert set(failures(folder).values()) == {"empty_main"}, done.stdout
    fetched = {path.rpartition("/")[2] for verb, path in hub.asked if verb == "GET"}
    assert not fetched & set(CLUTTER)

    geometry = tables.read(folder / "results/geometry.parquet", schemas.GEOMETRY)
    runs = geometry.groupby("suite").run.unique().map(list).to_dict()
    assert runs == {
        **{"neox": ["neox"], "bloom": ["bloom-intermediate"], "berts": ["seed_3"]},
        **{"either": ["either"], "folders": ["folders"], "commits": ["commits"]},
    }
    places = geometry.drop_duplicates(["suite", "step"]).set_index(["suite", "step"])
    assert sorted(places.loc["neox"].tokens) == [0, 512, 4096]
    assert sorted(places.loc["berts"].tokens) == [0, 4_096_000]
    assert places.loc["berts"].seed.tolist() == [3, 3]
    assert places.loc["either"].tokens.to_dict() == {0: 100, 8: 300}
    assert sorted(places.loc["folders"].tokens) == [5e8, 85e8]
    assert places.loc["commits"].revision.str.fullmatch("[0-9a-f]{40}").all()
    manifest = tables.read(folder / "results/manifests/neox.parquet", schemas.MANIFEST)
    names = {row.revision: [file["path"] for file in row.files] for row in manifest.itertuples()}
    assert names["step0"] == ["config.json", "model.safetensors"]
    assert names["step1"] == ["config.json", "pytorch_model.bin"]
    assert names["step8"][:2] == ["config.json", "model.safetensors.index.json"]
    assert len(names["step8"]) > 3
    assert not list((folder / "results/checkpoints").rglob("*.safetensors"))

    # All of it is known now: nothing is asked, nothing is done.
    hub.asked = []
    assert "Nothing to be done" in sweep(folder, "numbers").stdout
    assert not hub.asked


def test_faults_of_the_hub_change_no_byte(hub, tmp_path, text_file, tokenizers):
    """Listings and downloads with and without faults; what is measured depends on nothing else."""
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
            of = ["--definition", definition, "--suite", suite, "--run", run]
            job(folder, "tokenizer", *of, "--results", "results", "--out", tokenizer)
            of = ["--settings", "results/config.yaml", "--run", run, "--room", 10**9]
            of += ["--manifest", f"results/manifests/{suite}.parquet", "--tokenizer", tokenizer]
            revisions = ["--revision", *chosen.revision]
            job(folder, "download", *of, *revisions, "--out", f"fetched/downloads/a/b/{suite}/c")
        files = [path for path in (folder / "fetched").rglob("*") if path.is_file()]
        fetched[rate] = {path.relative_to(folder): path.read_bytes() for path in files}
    assert sum(path.suffix in (".safetensors", ".bin") for path in fetched[0.0]) >= 13
    assert fetched[0.0] == fetched[0.2]
    assert hub.n_faults > 30


def test_planted_defects_are_left_out_and_named(hub, tmp_path, text_file, tokenizers):
    steps = [0, 1, 2, 4, 8, 16, 32, 64, 128, 256, 512]
    tokenizer = files(tokenizers["decoder"], tmp_path / "t")
    made = {
        step: files(model, tmp_path / "m", "sharded")
        for step, model in trajectory(tiny_neox(), steps)
    }
    shard = next(name for name in sorted(made[2]) if name.startswith("model-00001"))
    made[4][shard] = made[2][shard]
    (_, stranger), *_ = trajectory(tiny_neox(), [0, 1], seed=99)
    made[32] = files(stranger, tmp_path / "m")
    del made[128][shard]
    made[256] = files(stranger, tmp_path / "m")
    made[256]["model.safetensors"] = changed(
        made[256]["model.safetensors"],
        lambda weights: weights.update(wrong=weights.pop("gpt_neox.final_layer_norm.weight")),
    )
    Evil.ran = tmp_path / "ran"
    made[512] = {"config.json": made[0]["config.json"], "pytorch_model.bin": pickled(Evil())}
    for step, found in made.items():
        hub.add("Org/neox", f"step{step}", found | tokenizer)
    (_, another), *_ = trajectory(tiny_neox(), [0, 1], seed=100)
    gone = hub.add("Org/neox", "step1024", files(another, tmp_path / "m") | tokenizer)
    folder = tmp_path / "sweep"
    folder.mkdir()
    suite = {**NEOX, "repositories": ["Org/neox"], "grid": [0, 1, 2, 3]}
    write(folder, settings(text_file, suites={"neox": suite}, corpora=["text"]))

    done = sweep(folder, "manifests")
    assert done.returncode == 0, done.stdout
    assert "neox: checkpoints 12, runs 1, " in done.stdout
    assert "holes 1, defects 4" in done.stdout
    for said in ("shares_file_with: neox/step2, neox/step4", "missing_weights: neox/step128"):
        assert said in done.stdout
    # Between the listing and the download, a revision vanishes.
    del hub.repositories["Org/neox"].commits[gone]

    done = sweep(folder, "numbers")
    assert done.returncode == 0, done.stdout
    assert "Traceback" not in done.stdout
    said = failures(folder)
    assert said["step2", 2] == "shares_file_with:step4"
    assert said["step4", 4] == "shares_file_with:step2"
    assert said["step32", 32].startswith("discontinuous: ")
    assert said["step128", 128] == f"missing_weights:{shard}"
    assert "weights are missing: gpt_neox.final_layer_norm.weight" in said["step256", 256]
    assert said["step512", 512] == "its pickle contains more than tensors, and is not read"
    assert said["step1024", 1024] == "Org/neox: the revision no longer exists"
    assert said["main", pd.NA] == "empty_main"
    assert not Evil.ran.exists()
    geometry = tables.read(folder / "results/geometry.parquet", schemas.GEOMETRY)
    assert set(geometry.revision) == {"step0", "step1", "step8", "step16", "step64"}
    summary = (folder / "results/summary.txt").read_text(encoding="utf-8")
    for step in (2, 4, 32, 128, 256, 512, 1024):
        assert f"not measured: neox/neox/step{step}:" in summary
    assert "not measured: neox/neox/step 3: hole" in summary
    again = plan(folder, "numbers")
    assert not again.keys() & {"download", "geometry"}


class Evil:
    """What would run a command if it were unpickled."""

    ran: Path

    def __reduce__(self):
        return (os.system, (f"touch '{self.ran}'",))


def test_the_papers_figures_are_made_of_the_models_that_can_be_had(
    hub, tmp_path, text_file, tokenizers
):
    shape = {"hidden_size": 16, "ffn_dim": 32, "num_hidden_layers": 3, "num_attention_heads": 2}
    limits = {"vocab_size": 300, "max_position_embeddings": 600, "word_embed_proj_dim": 16}
    (_, model), *_ = trajectory(transformers.OPTConfig(**shape, **limits), [0, 1])
    tokenizer = files(tokenizers["decoder"], tmp_path / "t")
    hub.add("facebook/opt-125m", "main", files(model, tmp_path / "m") | tokenizer)
    folder = tmp_path / "paper"
    folder.mkdir()
    # The example as it is, but for what cannot be had here: the text, and most of its models.
    chosen = yaml.safe_load((ROOT / "config/paper.yaml").read_text(encoding="utf-8"))
    chosen["suites"] = {
        "paper": {"repositories": ["facebook/opt-125m", "meta-llama/Llama-2-7b-hf"]}
    }
    chosen["corpus"]["text"] = str(text_file)
    write(folder, {**chosen, "geometry": {"n_points": 100, "groups": 4}, "device": "cpu"})

    done = sweep(folder, "paper")
    assert done.returncode == 0, done.stdout
    made = pd.read_csv(folder / "results/figures/comparison.csv")
    verdicts = made.groupby("run").verdict.agg(set).to_dict()
    # It reads bytes, and so other tokens than theirs: nothing can be said of its numbers.
    assert "other sampling" in verdicts["opt-125m"]
    assert verdicts["Llama-2-7b-hf"] == {"not run"}
    told = (folder / "results/comparison.md").read_text(encoding="utf-8")
    assert "| Llama-2-7b-hf | anisotropy | 31 | 0.06 | 0.010 |  | not run |" in told


def test_what_the_hub_did_not_answer_is_asked_for_again(hub, tmp_path, text_file, tokenizers):
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


def test_shards_are_kept_of_checkpoints_that_are_measured(hub, tmp_path, text_file, tokenizers):
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


def test_what_cannot_be_listed_is_one_line(hub, tmp_path, text_file):
    folder = tmp_path / "sweep"
    folder.mkdir()
    suite = {**NEOX, "repositories": ["Org/neox"]}
    # Of what is not there no budget can be had, which stops nothing.
    budget = {"checkpoints": {"neox": "last"}}
    write(folder, settings(text_file, suites={"neox": suite}, budget=budget))
    done = sweep(folder, "numbers")
    assert done.returncode == 0, done.stdout
    said = "Org/neox: there is no such repository, or it is private (set HF_TOKEN or run `hf auth"
    assert f"not measured: neox/neox: not_listed: {said}" in done.stdout
    write(folder, settings(text_file, suites={"neox": suite}, hub={"disk_gb": 1e-6}))
    for step, model in trajectory(tiny_neox(), [0]):
        hub.add("Org/neox", f"step{step}", files(model, tmp_path / "m"))
    done = sweep(folder, "numbers", "--forcerun", "listing")
    assert "hub.disk_gb: neox/neox/step0 needs" in done.stdout
    assert "Traceback" not in done.stdout


def test_the_disk_holds_no_more_than_its_budget(hub, tmp_path, text_file, tokenizers):
    tokenizer = files(tokenizers["decoder"], tmp_path / "t")
    for step, model in trajectory(tiny_neox(64), range(8)):
        hub.add("Org/neox", f"step{step}", files(model, tmp_path / "m") | tokenizer)
    one = sum(path.stat().st_size for path in (tmp_path / "m").iterdir())
    folder = tmp_path / "sweep"
    folder.mkdir()
    suite = {**NEOX, "repositories": ["Org/neox"]}
    # Room for some four checkpoints, or two with their shards.
    budget = 4 * one
    more = {"corpora": ["text"], "hub": {"disk_gb": budget / 1e9, "downloads": 4}}
    write(folder, settings(text_file, suites={"neox": suite}, **more))

    seen, finished = [], threading.Event()

    def watch():
        while not finished.wait(0.02):
            seen.append(on_disk(folder / "results"))

    watching = threading.Thread(target=watch)
    watching.start()
    done = sweep(folder, "numbers")
    finished.set()
    watching.join()
    assert done.returncode == 0, done.stdout
    geometry = tables.read(folder / "results/geometry.parquet", schemas.GEOMETRY)
    assert geometry.revision.nunique() == 8
    assert len(seen) > 100
    assert one < max(seen) <= budget


def on_disk(results):
    """Bytes of all that is there of checkpoints and shards at this moment."""
    total = 0
    for kind in ("checkpoints", "activations"):
        # os.walk passes over what is removed meanwhile.
        for place, _, names in os.walk(results / kind):
            for name in names:
                with contextlib.suppress(FileNotFoundError):
                    total += (Path(place) / name).lstat().st_size
    return total


def test_a_published_log_is_the_runs_loss(hub, tmp_path, text_file, tokenizers):
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
    # A table that is not there costs nothing but itself.
    suite["losses"] = {"lucie": "metadata/absent.csv"}
    write(tmp_path, settings(text_file, suites={"lucie": suite}, corpora=["text"]))
    done = sweep(tmp_path, "numbers")
    assert done.returncode == 0, done.stdout
    assert "absent.csv" in (tmp_path / "results/logs/history/lucie.log").read_text(encoding="utf-8")
    losses = tables.read(tmp_path / "results/losses.parquet", schemas.LOSSES)
    assert set(losses.source) == {"eval"}
