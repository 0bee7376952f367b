"""Compute the figures and tables of docs/explanation/controls.md.

    python docs/controls.py            # planted clouds, and the decoder of the default sweep

The script reads the results of `make sweep`: the curves, and the checkpoints of the decoder. If
results/stories/ contains the sweep of stories15M that the page describes, the script also writes
its table. The seeds differ from those of the tests.
"""

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from PIL import Image

ROOT = Path(__file__).parents[1]
sys.path[:0] = [str(ROOT / "docs"), str(ROOT / "tests")]
mpl.use("Agg")

import generate
from matplotlib import pyplot as plt

from helpers import manifolds
from shapesweep import corpora, id_twonn, nearest_neighbors, unique_rows
from shapesweep.checkpoint import load
from shapesweep.checkpoint.tokenizer import load_tokenizer
from shapesweep.corpora import CorpusConfig
from shapesweep.curves.tables import Curves, rows
from shapesweep.figures._panels import GRAY, PALETTE
from shapesweep.figures._training import training_axis
from shapesweep.geometry import subsamples
from shapesweep.geometry.layer import Layer
from shapesweep.geometry.measure import measure_layer
from shapesweep.metrics import METRICS, NeighborMetric

Points = NDArray[np.floating]
Labels = NDArray[np.integer]

SEED = 1
SPREADS = (0.02, 0.1, 0.3, 1.0)
GROUPS = {"curves of 32, 128 groups": (128, 32), "curves of 8, 512 groups": (512, 8)}
#: The series of the figures, with labels and styles.
WAYS = {
    "all points": {"color": "black", "marker": "o"},
    "own group excluded": {"color": PALETTE[1], "marker": "x"},
    "one per group": {"color": PALETTE[0], "marker": "s"},
    "few groups": {"color": GRAY, "marker": "^", "ls": "--"},
    "centres of the groups": {"color": PALETTE[2], "marker": "", "ls": ":"},
}
FITS = {name: m for name, m in METRICS.items() if isinstance(m, NeighborMetric) and m.limit}
RESULTS, STORIES = ROOT / "results", ROOT / "results/stories"
CHECKPOINTS = RESULTS / "checkpoints/embedded/decoder"
#: Curves of the sweep, by the name of their series.
CURVES = {
    "all points": ("text", "no_first"),
    "one per group": ("passages", "one_per_document"),
    "few groups": ("passages", "few_documents"),
}
N_POINTS = 4096


def main() -> None:
    """Write the figures to docs/gallery/ and the tables into docs/explanation/controls.md."""
    parts = {"planted": planted(), "tiles": tiles(), "fits": fits(), "training": training()}
    if STORIES.is_dir():
        parts["types"] = types()
    page = ROOT / "docs/explanation/controls.md"
    text = page.read_text(encoding="utf-8")
    for name, made in parts.items():
        text = generate.between(text, name, made, page.name)
    page.write_text(text, encoding="utf-8")


def twonn(points: Points) -> float:
    """Return TwoNN's ID of distinct points."""
    return id_twonn(nearest_neighbors(points, 2)[0])


def twonn_excluding(points: Points, labels: Labels) -> float:
    """Return TwoNN's ID from neighbours with other labels only; this is biased."""
    squares = np.einsum("ij,ij->i", points, points)
    nearest = []
    for start in range(0, len(points), 512):
        rows = slice(start, start + 512)
        apart = squares[rows, None] + squares - 2 * points[rows] @ points.T
        apart[labels[rows, None] == labels] = np.inf
        nearest.append(np.partition(apart, 1, axis=1)[:, :2])
    return id_twonn(np.sqrt(np.maximum(np.sort(np.concatenate(nearest), axis=1), 0)))


def averaged(points: Points, draws: list[NDArray[np.int64]], n_points: int) -> float:
    """Return the mean ID of draws, each with the same number of points."""
    return float(np.mean([twonn(points[rows[:n_points]]) for rows in draws]))


def ways(points: Points, labels: Labels) -> dict[str, float]:
    """Return the ID of a grouped cloud by every way of the figures, except the centres'."""
    drawn = subsamples.draw(labels, None, np.ones(len(points), dtype=bool))
    n_groups = len(np.unique(labels))
    return {
        "all points": twonn(points),
        "own group excluded": twonn_excluding(points, labels),
        "one per group": averaged(points, drawn["one_per_document"], n_groups),
        "few groups": averaged(points, drawn["few_documents"], n_groups),
    }


def planted() -> str:
    """Draw the IDs of planted groups against the spread of the groups, and return a table."""
    figure, axes = plt.subplots(2, 2, figsize=(6.8, 4.4), sharex=True, layout="constrained")
    rows = []
    for column, (title, (n_groups, length)) in zip(axes.T, GROUPS.items(), strict=True):
        for ax, dimension in zip(column, (5, 10), strict=True):
            found: dict[str, list[float]] = {way: [] for way in WAYS}
            for spread in SPREADS:
                rng = np.random.default_rng([SEED, dimension, n_groups])
                centres = rng.uniform(size=(n_groups, 1, dimension))
                points = manifolds.around(rng, centres, length, spread)
                labels = np.repeat(np.arange(n_groups), length)
                ids = ways(points, labels) | {"centres of the groups": twonn(centres[:, 0])}
                for way, value in ids.items():
                    found[way].append(value)
                rows.append(
                    [
                        f"{title}, d = {dimension}",
                        f"{spread:g}",
                        *map("{:.1f}".format, ids.values()),
                    ]
                )
            for way, style in WAYS.items():
                ax.plot(SPREADS, found[way], label=way, lw=1, ms=4, **style)
            ax.set(xscale="log", yscale="log", title=f"{title}, d = {dimension}")
            ax.set_xticks(SPREADS, [f"{spread:g}" for spread in SPREADS], minor=False)
            ax.minorticks_off()
            ticks = [1, 2, 5, 10, 20, 50, 100, 200, 500, 1000]
            ax.set_yticks(ticks, [str(tick) for tick in ticks])
            ax.axhline(dimension, color=GRAY, lw=0.5)
    for ax in axes[1]:
        ax.set_xlabel("spread of the groups")
    for ax in axes[:, 0]:
        ax.set_ylabel("TwoNN ID")
    _finish(figure, axes[0, 0], "controls_planted")
    return generate.table(["groups", "spread", *WAYS], rows)


def tiles() -> str:
    """Return a table of the bias of one point per group, where groups tile the space."""
    rows = []
    for dimension in (2, 5, 8, 12):
        rng = np.random.default_rng([SEED, dimension])
        one, any_point = [], []
        for _ in range(8):
            points = rng.uniform(size=(N_POINTS, dimension))
            centres = rng.uniform(size=(500, dimension))
            apart = (centres**2).sum(axis=1) - 2 * points @ centres.T
            cells = apart.argmin(axis=1)
            n_cells = len(np.unique(cells))
            draws = list(subsamples.one_per_group(np.arange(N_POINTS), cells))
            one.append(averaged(points, draws, n_cells))
            any_point.append(twonn(points[:n_cells]))
        numbers = np.mean(one), np.mean(any_point)
        rows.append(
            [str(dimension), *map("{:.1f}".format, numbers), f"{numbers[0] / numbers[1] - 1:+.0%}"]
        )
    return generate.table(["true dimension", "one point per cell", "random points", "bias"], rows)


def fits() -> str:
    """Draw the effect sizes of clean and doubtful clouds with their limits; return a table."""
    figure, axes = plt.subplots(1, 4, figsize=(6.8, 2.2), layout="constrained")
    kinds = {"clean": (manifolds.clean, 4), "doubtful": (manifolds.doubtful, 4)}
    styles = {"clean": (PALETTE[0], 0.0), "doubtful": (PALETTE[1], 0.3)}
    flags: dict[str, list[str]] = {}
    for place, n_points in enumerate((128, 1200, N_POINTS)):
        for kind, (make, n_seeds) in kinds.items():
            found: dict[str, list[float]] = {name: [] for name in FITS}
            poor = []
            for seed in range(n_seeds):
                rng = np.random.default_rng([SEED, seed, n_points])
                for points in make(rng, n_points).values():
                    values = effect_sizes(points)
                    for name, value in values.items():
                        found[name].append(value)
                    poor.append(any(v > FITS[n].limit(n_points) for n, v in values.items()))
            flags.setdefault(kind, []).append(f"{np.mean(poor):.0%} of {len(poor)}")
            color, shift = styles[kind]
            for ax, values in zip(axes, found.values(), strict=True):
                x = np.full(len(values), place + shift)
                ax.plot(x, values, ".", color=color, ms=3, label=kind if not place else None)
        for ax, metric in zip(axes, FITS.values(), strict=True):
            ax.plot([place - 0.2, place + 0.5], [metric.limit(n_points)] * 2, color="black", lw=0.8)
    for ax, name in zip(axes, FITS, strict=True):
        ax.set(title=name, yscale="log", xlim=(-0.4, 2.7), xlabel="N")
        ax.set_xticks([0.15, 1.15, 2.15], ["128", "1,200", "4,096"])
    _finish(figure, axes[0], "controls_fit")
    rows = [[kind, *counted] for kind, counted in flags.items()]
    return generate.table(["flagged `poor_fit`", "N = 128", "N = 1,200", "N = 4,096"], rows)


def effect_sizes(points: Points) -> dict[str, float]:
    """Return the effect sizes of a cloud by metric."""
    n = len(points)
    everything = np.ones(n, dtype=bool)
    layer = Layer(points, {}, np.zeros(n, dtype=int), None, {"all": everything}, ~everything)
    return {number.metric: number.value for number in measure_layer(layer, None, FITS)["all"]}


def training() -> str:
    """Draw the IDs of the default sweep's decoder along training, and return a table."""
    lines = rows(Curves.read(RESULTS / "curves").trajectories, run="decoder", metric="id_twonn")
    lines = rows(lines, layers="middle")
    found, steps = {}, sorted(lines.step.unique())
    for way, (corpus, selection) in CURVES.items():
        line = rows(lines, corpus=corpus, selection=selection)
        found[way] = line.set_index("step").value[steps].to_list()
    excluded = [
        np.mean([twonn_excluding(*block) for block in blocks]) for blocks in middle_blocks()
    ]
    found = {"all points": found.pop("all points"), "own group excluded": excluded, **found}
    figure, axes = plt.subplots(figsize=(3.4, 2.6), layout="constrained")
    for way, values in found.items():
        axes.plot(steps, values, label=way.replace("group", "document"), lw=1, ms=3, **WAYS[way])
    axes.set(ylabel="TwoNN ID", yscale="log")
    ticks = [2, 3, 5, 10, 15]
    axes.set_yticks(ticks, [str(tick) for tick in ticks])
    axes.minorticks_off()
    training_axis(axes, pd.DataFrame({"step": steps, "tokens": None}))
    _finish(figure, axes, "controls_training", 2)
    lines = [
        [way.replace("group", "document"), *map("{:.1f}".format, values)]
        for way, values in found.items()
    ]
    return generate.table(["step", *map(str, steps)], lines)


def middle_blocks() -> Iterator[list[tuple[Points, Labels]]]:
    """Yield the states of the middle blocks at each checkpoint, on the corpus `text`.

    The states of a block are a pair: N distinct points, and the number of the document of each
    point.
    """
    folders = {int(path.name.split("-")[-1]): path for path in CHECKPOINTS.glob("checkpoint-*")}
    if not folders:
        raise SystemExit(f"{CHECKPOINTS}: no checkpoints; run `make sweep` first")
    for _, folder in sorted(folders.items()):
        text = corpora.read_text("stdlib")
        model, tokenizer = load.load(folder, [], False), load_tokenizer(folder, text)
        size = model.get_input_embeddings().num_embeddings
        (corpus,) = corpora.build(["text"], {"stdlib": text}, tokenizer, CorpusConfig(), size)
        documents = torch.from_numpy(np.stack(corpus.documents))
        with torch.inference_mode():
            states = model(documents, output_hidden_states=True).hidden_states
        blocks = []
        for block in range(3, 6):
            # Leave out the first token of each document.
            points = states[block][:, corpus.n_prefix or 1 :].flatten(0, 1).numpy()
            labels = np.arange(len(points)) // (len(points) // len(documents))
            chosen = np.random.default_rng(SEED).permutation(unique_rows(points))[:N_POINTS]
            blocks.append((points[chosen].astype(np.float64), labels[chosen]))
        yield blocks


def types() -> str:
    """Return a table of the IDs of stories15M: all tokens, one token per type, and any tokens."""
    found = rows(Curves.read(STORIES / "curves").profiles, corpus="text")
    found = found[found.layer_kind == "block"]
    lines = []
    for selection in ("no_first", "one_per_type", "any_type"):
        line = rows(found, metric="id_twonn", selection=selection).sort_values("layer")
        half = (line.high - line.low) / 2
        values = [f"{v:.1f} ± {h:.1f}" for v, h in zip(line.value, half, strict=True)]
        lines.append([f"`{selection}`", f"{int(line.n_points.max()):,}", *values])
    share = rows(found, metric="same_token_nn", selection="no_first").sort_values("layer")
    lines.append(
        ["same token", f"{int(share.n_points.max()):,}", *map("{:.0%}".format, share.value)]
    )
    return generate.table(["selection", "N", *map("block {}".format, share.layer)], lines)


def _finish(figure: Any, ax: Any, name: str, columns: int = 3) -> None:
    handles, labels = ax.get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=columns)
    path = ROOT / f"docs/gallery/{name}.png"
    figure.savefig(path, dpi=200)
    plt.close(figure)
    Image.open(path).convert("RGB").quantize(256).save(path)


if __name__ == "__main__":
    with plt.style.context("default"), mpl.rc_context({"font.size": 7, "axes.titlesize": 7}):
        main()
