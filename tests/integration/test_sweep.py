"""Complete sweeps of tiny suites. Some sweeps have damaged checkpoints or wrong configurations."""

import json
import os
import shutil

from helpers.hub_suites import changed
from helpers.workflow import (
    EMBEDDED,
    LLAMA,
    ROOT,
    complete,
    configuration,
    configure,
    error_line,
    plan,
    read,
    refused,
    settings,
    sweep,
    write,
)
from shapesweep.figures import EXTENSIONS, FIGURES
from shapesweep.metrics import METRICS


def test_a_sweep_from_checkpoints_to_figures(workspace):
    jobs = plan(workspace)
    # The three checkpoints of a run form a single batch.
    assert (jobs["geometry"], jobs["figures"]) == (2, 1)
    assert not (workspace / "results").exists()

    done = complete(workspace)
    geometry = read(workspace, "geometry")
    found = geometry.groupby(["run", "revision"]).size()
    # The table contains the same count of numbers for each of the three corpora. In each layer,
    # every metric is computed for three selections, at each of its scales. The embedding lacks
    # linearity, because it has no previous layer. For each of two more selections, there are two
    # numbers. For causal models, two more numbers are computed from truncated documents. The
    # decoder has an embedding, three blocks and a final norm. The encoder has an embedding and two
    # blocks.
    scales = sum(len(getattr(metric, "k", [None])) for metric in METRICS.values())
    # Three shares are measured only for all tokens.
    each = 3 * scales - 2 * 3 + 2
    assert set(found["decoder"]) == {3 * (5 * (each + 2 * 2 + 2) - 3)}
    assert set(found["encoder"]) == {3 * (3 * (each + 2 * 2) - 3)}
    undefined = geometry.flag.str.contains("undefined")
    assert (geometry.value.isna() == undefined).all()
    # `alpha_req` needs a hundred eigenvalues, but a cloud with 16 features has only 16. There are
    # few distinct embeddings, so some have fewer than 64 neighbours. Apart from `alpha_req` and the
    # GRIDE IDs of embeddings, all numbers are defined and have a standard error.
    blocks = geometry[geometry.layer_kind != "embedding"]
    # In a decoder, all first tokens have equal states, and there is no other massive token.
    bulk = geometry.selection == "no_bulk"
    assert set(geometry.metric[undefined & ~bulk]) <= {"alpha_req", "id_gride", "fit_scales"}
    blocks = blocks[blocks.selection != "no_bulk"]
    assert set(blocks.metric[blocks.value.isna()]) == {"alpha_req"}
    assert blocks[blocks.metric != "alpha_req"].stderr.notna().all()
    replicates = read(workspace, "replicates")
    assert len(replicates) == 4 * len(geometry)
    losses = read(workspace, "losses")
    logged = losses[(losses.source == "log") & (losses.run == "decoder")]
    assert logged.step.tolist() == list(range(5, 101, 5))
    assert len(losses[losses.source == "eval"]) == 2 * 3 * 3
    assert not len(read(workspace, "failures"))
    # These figures are not drawn, because the sweep has no budgets, no last tokens, no model of the
    # paper, no loss explosion, and documents of one length.
    absent = {"budget", "pooling", "comparison", "approach", "early_warning", "spiked", "lengths"}
    drawn = {f"{name}.{kind}" for name in FIGURES.keys() - absent for kind in EXTENSIONS}
    found = {path.name: path for path in (workspace / "results/figures").glob("[!.]*")}
    assert set(found) == drawn
    assert all(path.stat().st_size > 5000 for path in found.values() if path.suffix != ".csv")
    assert (workspace / "results/report.html").stat().st_size > 4e6
    origins = read(workspace, "origins")
    assert len(origins) == 6 * 3
    assert origins.corpus_digest.str.len().eq(64).all()
    assert not list((workspace / "results/activations").rglob("*.parquet"))
    assert "all tokens" in done
    assert "not tested" in done

    assert "Nothing to be done" in complete(workspace)


def test_damaged_checkpoints_are_reported_and_the_others_measured(workspace):
    runs = workspace / "runs"
    shutil.copytree(runs / "decoder/checkpoint-10", runs / "decoder/checkpoint-20")
    shutil.copytree(runs / "decoder/checkpoint-10", runs / "decoder/checkpoint-30")
    truncated = runs / "decoder/checkpoint-10/model.safetensors"
    truncated.write_bytes(truncated.read_bytes()[:-64])
    for step, damage in (
        (20, lambda weights: weights.pop("model.norm.weight")),
        (30, lambda weights: weights["model.norm.weight"].fill_(float("nan"))),
    ):
        path = runs / f"decoder/checkpoint-{step}/model.safetensors"
        path.write_bytes(changed(path.read_bytes(), damage))
    (runs / "encoder/checkpoint-10/model.safetensors").unlink()

    done = complete(workspace, "numbers")
    failures = read(workspace, "failures")
    reasons = {(row.run, row.revision): row.reason for row in failures.itertuples()}
    assert reasons == {
        ("decoder", "checkpoint-10"): "damaged:model.safetensors",
        ("decoder", "checkpoint-20"): "weights are missing: model.norm.weight",
        ("decoder", "checkpoint-30"): "model.norm.weight holds NaN or infinite values",
        ("encoder", "checkpoint-10"): "missing_weights",
    }
    for (run, revision), reason in reasons.items():
        assert f"not measured: tiny/{run}/{revision}: {reason}" in done
    measured = read(workspace, "geometry")[["run", "revision"]].drop_duplicates()
    assert sorted(measured.itertuples(index=False, name=None)) == [
        (run, f"checkpoint-{step}") for run in ("decoder", "encoder") for step in (0, 100)
    ]


def test_an_embedded_suite_is_trained_and_measured(tmp_path, text_file):
    encoder = {key: value for key, value in LLAMA.items() if key != "num_key_value_heads"}
    models = {"decoder": LLAMA, "encoder": encoder | {"model_type": "bert"}}
    runs = {run: {"learning_rate": 0.01, "model": model} for run, model in models.items()}
    suites = {"small": EMBEDDED | {"steps": [0, 1, 4], "runs": runs}}
    budget = {"checkpoints": {"small": "last"}}
    write(tmp_path, settings(text_file, suites=suites, corpora=["text"], budget=budget))
    complete(tmp_path, "numbers")
    for run in ("decoder", "encoder"):
        folder = tmp_path / "results/checkpoints/small" / run
        saved = [path.name for path in folder.glob("checkpoint-*")]
        assert sorted(saved) == [f"checkpoint-{s}" for s in (0, 1, 4)]
        state = json.loads((folder / "checkpoint-4/trainer_state.json").read_bytes())
        assert [e["step"] for e in state["log_history"] if "loss" in e] == [1, 2, 3, 4]
    losses = read(tmp_path, "losses")
    started = losses[(losses.source == "eval") & (losses.step == 0)].value
    # Before training, the loss is close to ln(300) = 5.70, the loss of a uniform distribution.
    assert ((started - 5.70).abs() < 0.2).all()
    geometry = read(tmp_path, "geometry")
    assert sorted(geometry.tokens.unique()) == [0, 64, 256]
    assert set(geometry.architecture) == {"LlamaForCausalLM", "BertForMaskedLM"}
    budgets = read(tmp_path, "budgets")
    assert budgets.groupby(["run", "step"]).layer.agg(list).to_dict() == {
        ("decoder", 4): [0, 1, 2],
        ("encoder", 4): [0, 1, 2],
    }
    assert budgets.k.between(0, 16).all()


def test_too_long_documents_are_reported_for_each_checkpoint(workspace):
    configure(workspace, {"corpus.length": 65, "checkpoints": {"steps": [0]}})
    done = sweep(workspace, "numbers")
    assert "0 checkpoints of 0 runs measured, 2 not measured" in done.stdout
    assert (
        "a document of the corpus text has 65 tokens, but the model reads at most 64" in done.stdout
    )
    assert "Traceback" not in done.stdout


def test_only_repaired_or_changed_checkpoints_are_measured_again(workspace):
    few = {"checkpoints": {"steps": [0, 10]}, "corpora": ["text"], "checkpoints_per_job": 1}
    configure(workspace, few)
    original = configuration(workspace)
    weights = workspace / "runs/decoder/checkpoint-10/model.safetensors"
    state = workspace / "runs/encoder/checkpoint-10/trainer_state.json"
    whole = {path: (path.read_bytes(), path.stat()) for path in (weights, state)}
    for path, (content, _) in whole.items():
        path.write_bytes(content[:-50])
    complete(workspace, "numbers")
    reasons = read(workspace, "failures").reason.tolist()
    # A damaged log of losses does not prevent a measurement of the weights.
    assert reasons == ["damaged:model.safetensors"]
    log = (workspace / "results/logs/history/tiny.log").read_text(encoding="utf-8")
    assert "encoder/checkpoint-10/trainer_state.json: damaged" in log
    assert "geometry" not in plan(workspace)

    for path, (content, stat) in whole.items():
        path.write_bytes(content)
        # Restore the modification time of the original file, as rsync does.
        os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    jobs = plan(workspace)
    assert (jobs["geometry"], jobs["history"]) == (1, 1)
    complete(workspace, "numbers")
    assert not len(read(workspace, "failures"))
    assert "geometry" not in plan(workspace)

    for change in (
        {"corpus.seed": 1},
        {"corpora": ["text", "random"]},
        {"suites.tiny.tokens_per_step": 100},
    ):
        write(workspace, original)
        configure(workspace, change)
        assert plan(workspace)["geometry"] == 4


def test_a_single_checkpoint_without_a_step_is_measured(tmp_path, runs, text_file):
    suites = {"one": {"source": "local", "runs": {"model": str(runs / "decoder/checkpoint-100")}}}
    write(tmp_path, settings(text_file, suites=suites, keep_activations=True))
    complete(tmp_path, "numbers")
    assert read(tmp_path, "geometry").step.isna().all()
    assert len(list((tmp_path / "results/activations").rglob("layer-*.parquet"))) == 3 * 5


def test_success_without_all_jobs_is_an_error(workspace):
    # With keep-going, Snakemake's scheduler returns success if jobs never become ready.
    snakefile = workspace / "Snakefile"
    snakefile.write_text(
        f"""
include: "{ROOT}/Snakefile"
from snakemake.scheduling.job_scheduler import JobScheduler
JobScheduler.schedule = lambda scheduler: True
""",
        encoding="utf-8",
    )
    output = refused(workspace, "numbers", snakefile=snakefile, cold=True)
    assert "jobs did not run, such as" in error_line(output)
