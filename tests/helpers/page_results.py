"""Synthetic results of a small sweep, for tests of the report page."""

import itertools
import math

import matplotlib as mpl

from shapesweep.errors import CheckpointError
from shapesweep.storage import failures, schemas, tables
from shapesweep.storage.manifests import Checkpoint

mpl.use("Agg")
from matplotlib import pyplot as plt

#: A run name with HTML code, which a browser would execute if the page did not escape the name.
HOSTILE = "<img src=x onerror=alert(1)>"
STEPS = (0, 1, 10, 100, 1000)
BLOCKS = 4
LAYERS = [(0, "embedding"), *((n, "block") for n in range(1, BLOCKS + 1)), (BLOCKS, "final_norm")]
RUNS = [("decoder-seed0", "decoder"), ("decoder-seed1", "decoder"), (HOSTILE, HOSTILE)]
METRICS = [("anisotropy", None), ("id_twonn", 2), ("id_gride", 2), ("id_gride", 4)]


def value(run, metric, step, layer):
    """Return a dome's value at a layer. The dome grows with the step, and depends on the run."""
    height = math.log10(1 + step) / 4 * math.sin(math.pi * layer / BLOCKS)
    return (1 if metric == "anisotropy" else 9) * (0.1 + 0.6 * height) + 0.001 * len(run)


def curve(run, model, corpus, selection, metric, k, over="documents"):
    seed = None if over == "seeds" else 0
    return {
        "suite": "tiny", "run": run, "model": model, "seed": seed, "n_layers": BLOCKS,
        "architecture": "LlamaForCausalLM", "family": "decoder", "corpus": corpus,
        "text_sha256": f"sha256-of-{corpus}",
        "pooling": "tokens", "selection": selection, "metric": metric, "k": k, "over": over,
    }  # fmt: skip


def band(center, n_points=4096):
    return {
        "value": center, "low": 0.9 * center, "high": 1.1 * center, "n_points": n_points,
        "without_group": None,
        "n_documents": 128, "document_length": 64, "flag": "",
    }  # fmt: skip


def when(step, run, over="documents"):
    revision = None if over == "seeds" else f"checkpoint-{step}"
    # One training run has a break before its last checkpoint.
    segment = int(run == HOSTILE and step == STEPS[-1])
    moment = {"step": step, "tokens": 2048 * step, "stage": None}
    return {"revision": revision, **moment, "segment": segment}


def place_by_tokens(folder):
    """Change the tables of `write`: a step becomes a billion tokens, as if no steps were known."""
    moved = {"step", "first_step", "last_step", "from_step", "to_step"}
    for name in ("profiles", "trajectories", "phases", "moves", "shapes", "missing", "manifest"):
        place = folder if name == "manifest" else folder / "curves"
        schema = getattr(schemas, name.upper())
        rows = tables.read_arrow(place / f"{name}.parquet", schema).to_pylist()
        for row in rows:
            row |= {key: row[key] * 10**9 for key in moved & row.keys()}
            row |= {"tokens": row["step"]} if "tokens" in row else {}
        tables.write(rows, schema, place / f"{name}.parquet")


def write(folder):
    """Write all tables and files that the report page needs.

    Returns
    -------
    pathlib.Path
        `folder`.
    """
    profiles, trajectories, phases, moves, shapes = [], [], [], [], []
    models = [(*run, "documents") for run in RUNS] + [("decoder", "decoder", "seeds")]
    kinds = itertools.product(models, ("text", "random"), ("all", "no_first"), METRICS)
    for (run, model, over), corpus, selection, (metric, k) in kinds:
        keys = curve(run, model, corpus, selection, metric, k, over)
        for step in STEPS:
            for layer, kind in LAYERS:
                flag = {"flag": "undersampled"} if (step, layer) == (0, 0) else {}
                depth = {"layer": layer, "layer_kind": kind, "depth": layer / BLOCKS}
                depth["stack"] = None
                center = value(run, metric, step, layer)
                numbers = band(center) | flag
                if (step, layer, kind) == (0, 1, "block"):
                    lone = {"flag": "one_group", "low": None, "high": None}
                    numbers |= lone | {"without_group": center / 2}
                profiles.append(keys | when(step, run, over) | depth | numbers)
            middle = value(run, metric, step, BLOCKS // 2)
            numbers = {"layers": "middle"} | band(middle)
            trajectories.append(keys | when(step, run, over) | numbers)
            if over == "documents":
                shapes.append(shape(keys, step, middle))
        phases.append(phase(keys))
        moves.append(move(keys))
    for run, model in RUNS:
        for source, corpus in (("eval", "text"), ("log", None)):
            for step in STEPS:
                keys = curve(run, model, corpus, None, f"loss_{source}", None)
                loss = {"layers": None} | band(5 - math.log10(1 + step), None)
                trajectories.append(keys | when(step, run) | loss)
    empty = ("distances", "comparison", "budgets", "spikes", "spiked", "approaches", "warnings")
    contents = {name: [] for name in empty} | {
        **{"profiles": profiles, "trajectories": trajectories, "phases": phases},
        **{
            "moves": moves,
            "verdicts": verdicts(),
            "shapes": shapes,
            "missing": missing(),
            "manifest": manifest(),
            "origins": origins(),
        },
    }
    for name, rows in contents.items():
        place = folder if name in {"manifest", "origins"} else folder / "curves"
        tables.write(rows, getattr(schemas, name.upper()), place / f"{name}.parquet")
    (folder / "config.yaml").write_text(f"suites: {{tiny: {{runs: '{HOSTILE}'}}}}\n", "utf-8")
    (folder / "summary.txt").write_text(f"{len(RUNS)} runs, {HOSTILE}\n", "utf-8")
    figure(folder / "figures")
    return folder


def shape(keys, step, height):
    row = {k: v for k, v in keys.items() if k != "over"} | when(step, keys["run"])
    name = "flat" if step < 10 else "dome"
    measured = {f"{m}{end}": None for m in schemas.MEASURES for end in ("", "_low", "_high")}
    measured |= {
        "height_without_group": None,
        "height": height,
        "height_low": 0.9 * height,
        "height_high": 1.1 * height,
    }
    return row | {"n_documents": 128, "document_length": 64, "shape": name} | measured


def phase(keys):
    is_tested = (keys["metric"], keys["selection"], keys["corpus"]) == (
        "id_twonn",
        "no_first",
        "text",
    )
    return keys | {
        "layers": "middle", "tested": "paper" if is_tested else None, "n_points": 4096,
        "n_checkpoints": 5, "first_step": 0, "first": 0.1, "last_step": 1000, "last": 0.7,
        "noise": 0.02, "resolution": 0.3, "noise_source": "curve",
        "course": "rise", "verdict": "no rise and fall", "flag": "",
    }  # fmt: skip


def move(keys):
    return keys | {
        "layers": "middle", "number": 0, "kind": "rise", "from_step": 1, "to_step": 1000,
        "before": 0.1, "after": 0.7, "size": 0.6, "low": 0.45, "high": 0.75,
    }  # fmt: skip


def verdicts():
    model = curve("decoder-seed0", "decoder", "text", "no_first", "id_twonn", 2)
    row = {name: model[name] for name in schemas.VERDICTS.names if name in model}
    tested = {"paper": "no rise and fall", "control": "not measured", "verdict": "untested"}
    return [row | tested | {"variant": "", "sample": 1, "n_curves": 40, "n_shown": 0}]


def missing():
    def row(step, reason):
        checkpoint = Checkpoint("tiny", "decoder-seed0", f"checkpoint-{step}", step=step)
        return failures.as_row(checkpoint, CheckpointError(reason))

    return [row(7, "NaN"), row(10, HOSTILE) | {"measured": True}]


def manifest():
    common = dict.fromkeys(schemas.MANIFEST.names)
    common |= {"suite": "tiny", "seed": 0, "files": [], "bytes": 2_902_248, "chosen": True}
    rows = []
    for (run, _), step in itertools.product(RUNS, STEPS):
        status = ["missing_config"] if step == 100 and run == HOSTILE else []
        row = {"run": run, "commit": f"c{step}", "status": status, "selected": not status}
        moment = {"revision": f"checkpoint-{step}", "step": step, "tokens": 2048 * step}
        rows.append(common | row | moment)
    return rows


def origins():
    versions = {"device": "cpu", "shapesweep": "0.4.0", "torch": "2.13.0", "transformers": "5.23.0"}
    return [
        {"suite": "tiny", "run": run, "revision": f"checkpoint-{step}", "step": step,
         "commit": f"measured-{step}", "corpus": corpus, "text_sha256": f"sha256-of-{corpus}",
         "corpus_digest": f"digest-of-{corpus}",
         "corpus_seed": 0, **versions}
        for (run, _), step, corpus in itertools.product(RUNS, STEPS, ("text", "random"))
    ]  # fmt: skip


def figure(folder):
    """Draw two figures, and write a CSV file for only one of them."""
    folder.mkdir(parents=True)
    for name in ("dome", "corpora"):
        drawn, axes = plt.subplots(figsize=(3.4, 2))
        axes.plot([0, 1])
        for extension in ("svg", "png"):
            drawn.savefig(folder / f"{name}.{extension}")
        plt.close(drawn)
    (folder / "dome.csv").write_text(f'step,run\n1,"{HOSTILE}"\n', "utf-8")
