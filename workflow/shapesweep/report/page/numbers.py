"""Prepare the curves for the page: round their numbers, and limit their total size."""

import json
from collections.abc import Iterator
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike

from shapesweep.curves import intervals
from shapesweep.curves.intervals import as_array
from shapesweep.metrics import METRICS
from shapesweep.storage import axis, schemas

#: Maximum total size of the curves on a page, in characters. If the curves exceed this size, the
#: last curves in the order of `_ranked` are left out.
BOUND = 24_000_000
#: Maximum number of points of a training log that the page shows.
LOGGED = 512
#: Metrics, selections and corpora whose curves come first in the order of `_ranked`.
METRICS_FIRST = ("anisotropy", "id_twonn", "same_document_nn")
SELECTIONS_FIRST = ("no_first", "all", "one_per_document", "few_documents", "no_massive")
CORPORA_FIRST = ("text",)

_RUN = ["suite", "run", "over"]
# The record of the page lists the texts.
_CURVE = [name for name in intervals.CURVE if name != "text_sha256"]


def pack(
    profiles: pd.DataFrame,
    trajectories: pd.DataFrame,
    phases: pd.DataFrame,
    moves: pd.DataFrame,
    shapes: pd.DataFrame,
    bound: int = BOUND,
) -> dict[str, Any]:
    """Convert curves to values that JSON can represent. Stop at a maximum size.

    Parameters
    ----------
    profiles, trajectories, phases, moves, shapes : pandas.DataFrame
        Tables with the schemas `PROFILES`, `TRAJECTORIES`, `PHASES`, `MOVES` and `SHAPES`.
    bound : int
        Maximum size of `curves` as JSON, in characters.

    Returns
    -------
    dict
        runs : list of dict
            Each with the lists `checkpoints` (in the order of steps) and `layers` (from the
            embedding to the last layer). Checkpoints and layers are the two axes of every array of
            a curve. `axis` describes the positions in the lists of steps.
        flags : list of str
            All flags that occur. The `flag` of a curve contains indices into the list `flags`.
        curves : list of dict
            One curve for every run, corpus, pooling, selection, metric and k. `value`, `low` and
            `high` have a row for each checkpoint and a column for each layer, and are rounded to
            four significant digits. `n` and `flag` are arrays over checkpoints and layers, or
            single numbers if all entries are equal. `middle` is the average of the middle blocks,
            `course` describes its rises and falls over training, and `shapes` contains the shape at
            every checkpoint.
        losses : list of dict
            The losses of every run.
        metrics : dict
            For each metric, a list with its texts `definition` and `it_is_not`.
        left_out : list of dict
            Number of runs whose curves are omitted, for each metric, k, selection and corpus.
    """
    profiles, trajectories = _keyed(profiles), _keyed(trajectories)
    runs = _runs(profiles)
    flags = list(dict.fromkeys(["", *profiles.flag.dropna()]))
    middle = _by_curve(trajectories[trajectories.layers == "middle"])
    courses, moved = _by_curve(phases), _by_curve(moves)
    # The intervals of shapes are always computed over documents, so the table of shapes has no
    # column `over`.
    shape = _by_curve(_keyed(shapes.assign(over="documents")))
    units = _by_curve(profiles)
    names = list(runs)
    curves, left, room = [], [], bound
    for key in _ranked(units, names):
        if room >= 0:
            run = runs[key[:3]]
            curve = _curve(units[key], run, flags) | {
                "run": names.index(key[:3]),
                "middle": _middle(middle.get(key), run),
                "course": _course(courses.get(key), moved.get(key)),
                "shapes": _shapes(shape.get(key), run),
            }
            room -= len(json.dumps(curve, separators=(",", ":"))) + 1
        if room >= 0:
            curves.append(curve)
        else:
            left.append(key)
    return {
        "runs": list(runs.values()),
        "flags": flags,
        "curves": curves,
        "losses": list(_losses(trajectories, names)),
        "metrics": _meanings(profiles.metric.unique()),
        "left_out": _counted(left),
    }


def rounded(values: ArrayLike) -> Any:
    """Round to four significant digits, and return nested lists; None if a value is not finite."""
    array = np.asarray(values, dtype=np.float64)
    if array.ndim:
        return [rounded(part) for part in array]
    return float(f"{array:.4g}") if np.isfinite(array) else None


def _keyed(frame: pd.DataFrame) -> pd.DataFrame:
    """Add a column `checkpoint` that identifies a checkpoint by its revision and its step."""
    steps = frame.step.astype("string").fillna("")
    return frame.assign(checkpoint=frame.revision.astype("string").fillna("") + "@" + steps)


def _by_curve(frame: pd.DataFrame) -> dict[tuple[Any, ...], pd.DataFrame]:
    """Group the rows of a table by curve; in the key of a curve, k is 0 instead of null."""
    filled = frame.assign(k=frame.k.astype("Int64").fillna(0))
    found = filled.groupby([*_RUN, *_CURVE], sort=False, dropna=False)
    return dict(iter(found))


def _ranked(
    units: dict[tuple[Any, ...], pd.DataFrame], runs: list[tuple[Any, ...]]
) -> list[tuple[Any, ...]]:
    """Sort the keys of curves so that the most important curves come first."""
    names = list(METRICS)
    corpora = list(dict.fromkeys([*CORPORA_FIRST, *(key[3] for key in units)]))

    def rank(key: tuple[Any, ...]) -> tuple[Any, ...]:
        corpus, pooling, selection, metric, k = key[3:]
        first = metric in METRICS_FIRST
        known = METRICS_FIRST if first else names
        return (
            not first,
            _position(selection, SELECTIONS_FIRST),
            _position(corpus, corpora),
            pooling,
            _position(metric, known),
            (metric, selection, k),
            runs.index(key[:3]),
        )

    return sorted(units, key=rank)


def _position(name: str, order: list[str] | tuple[str, ...]) -> int:
    return order.index(name) if name in order else len(order)


def _runs(profiles: pd.DataFrame) -> dict[tuple[Any, ...], dict[str, Any]]:
    runs = {}
    for key, part in profiles.groupby(_RUN, sort=False):
        first = part.iloc[0]
        points = part[["checkpoint", "revision", "step", "tokens", "segment"]]
        points = points.drop_duplicates("checkpoint")
        points = points.sort_values("step", kind="stable", na_position="last")
        layers = part[["layer", "layer_kind"]].drop_duplicates()
        layers = layers.assign(after=layers.layer_kind == "final_norm")
        layers = layers.sort_values(["layer", "after"])
        runs[key] = {
            **dict(zip(_RUN, key, strict=True)),
            "family": first.family,
            "architecture": first.architecture,
            "n_layers": int(first.n_layers),
            "axis": _axis(part),
            "checkpoints": [
                {
                    "key": c.checkpoint,
                    "revision": _text(c.revision),
                    # `segment` counts the breaks in a run. Plots do not connect points across a
                    # break.
                    **_whole(c, "step", "tokens", "segment"),
                }
                for c in points.itertuples()
            ],
            "layers": [[int(row.layer), row.layer_kind] for row in layers.itertuples()],
        }
    return runs


def _axis(part: pd.DataFrame) -> dict[str, Any]:
    along = axis.of_rows(part)
    return {"on_tokens": along.on_tokens, "unit": along.unit, "label": along.label}


def _curve(part: pd.DataFrame, run: dict[str, Any], flags: list[str]) -> dict[str, Any]:
    indices = {point["key"]: i for i, point in enumerate(run["checkpoints"])}
    layers = {tuple(layer): i for i, layer in enumerate(run["layers"])}
    rows = part.checkpoint.map(indices).to_numpy(int)
    columns = [layers[pair] for pair in zip(part.layer, part.layer_kind, strict=True)]
    shape = (len(indices), len(layers))

    def spread(values: ArrayLike) -> Any:
        array = np.full(shape, np.nan)
        array[rows, columns] = np.asarray(values, dtype=np.float64)
        return array

    first = part.iloc[0]
    flag = part.flag.fillna("").map({name: i for i, name in enumerate(flags)})
    without = spread(_floats(part.without_group))
    return {
        **{name: first[name] for name in _CURVE[:-1]},
        "k": int(first.k) or None,
        **_whole(first, "n_documents", "document_length"),
        **{name: rounded(spread(_floats(part[name]))) for name in ("value", "low", "high")},
        "n": _folded(spread(_floats(part.n_points))),
        "flag": _folded(spread(_floats(flag))),
        "without": rounded(without) if np.isfinite(without).any() else None,
    }


def _folded(array: np.ndarray) -> Any:
    """Convert an array to nested lists, or to a single number if all finite numbers are equal."""
    known = np.unique(array[np.isfinite(array)])
    if len(known) < 2:
        return int(known[0]) if len(known) else None
    return [[int(v) if np.isfinite(v) else None for v in line] for line in array]


def _middle(part: pd.DataFrame | None, run: dict[str, Any]) -> dict[str, Any] | None:
    """Return the average of the middle blocks for every checkpoint."""
    if part is None:
        return None
    keys = [point["key"] for point in run["checkpoints"]]
    line = part.drop_duplicates("checkpoint").set_index("checkpoint").reindex(keys)
    columns = {name: rounded(_floats(line[name])) for name in ("value", "low", "high")}
    return {**columns, "n": _folded(_floats(line.n_points)[None])}


def _course(part: pd.DataFrame | None, moves: pd.DataFrame | None) -> dict[str, Any] | None:
    """Return the course of the average of the middle blocks, with its rises and falls."""
    if part is None:
        return None
    row = part.iloc[0]
    found = [] if moves is None else moves.sort_values("number").to_dict("records")
    return {
        **{name: _text(row[name]) for name in ("tested", "verdict", "noise_source")},
        **_whole(row, "n_checkpoints", "first_step", "last_step"),
        **{name: rounded(_floats(row[name])) for name in ("first", "last", "noise", "resolution")},
        "moves": [
            {
                **{name: move[name] for name in ("kind", "from_step", "to_step")},
                **{name: rounded(move[name]) for name in ("size", "low", "high")},
            }
            for move in found
        ],
    }


def _shapes(part: pd.DataFrame | None, run: dict[str, Any]) -> list[Any] | None:
    """Return the shape at every checkpoint, with [value, low, high] for each of its measures."""
    if part is None:
        return None
    found = {}
    for row in part.to_dict("records"):
        columns = {
            name: [rounded(_floats(row[name + end])) for end in ("", "_low", "_high")]
            for name in schemas.MEASURES
        }
        known = {name: three for name, three in columns.items() if three[0] is not None}
        without = rounded(_floats(row["height_without_group"]))
        found[row["checkpoint"]] = {"shape": row["shape"], "without": without, **known}
    return [found.get(point["key"]) for point in run["checkpoints"]]


def _losses(trajectories: pd.DataFrame, runs: list[tuple[Any, ...]]) -> Iterator[dict[str, Any]]:
    """Yield the losses of every run, with at most `LOGGED` points for each log."""
    found = trajectories[trajectories.metric.str.startswith("loss_") & trajectories.step.notna()]
    for key, part in found.groupby([*_RUN, "metric", "corpus"], sort=False, dropna=False):
        if key[:3] not in runs:
            continue
        line = part.sort_values("step", kind="stable")
        if len(line) > LOGGED:
            line = line.iloc[np.linspace(0, len(line) - 1, LOGGED).round().astype(int)]
        yield {
            "run": runs.index(key[:3]),
            "source": key[3].removeprefix("loss_"),
            "corpus": _text(key[4]),
            **{name: [int(value) for value in line[name]] for name in ("step", "segment")},
            **{name: rounded(_floats(line[name])) for name in ("value", "low", "high")},
        }


def _meanings(names: ArrayLike) -> dict[str, list[str]]:
    known = [name for name in METRICS if name in set(np.asarray(names))]
    return {name: [METRICS[name].definition, METRICS[name].it_is_not] for name in known}


def _counted(left: list[tuple[Any, ...]]) -> list[dict[str, Any]]:
    if not left:
        return []
    frame = pd.DataFrame(left, columns=[*_RUN, *_CURVE])
    found = frame.groupby(["metric", "k", "selection", "corpus"], sort=False).size()
    rows = found.rename("runs").reset_index().to_dict("records")
    return [{**row, "k": int(row["k"]) or None} for row in rows]


def _floats(values: Any) -> Any:
    """Convert a column or a cell to float64, with NaN for null."""
    if isinstance(values, pd.Series):
        return as_array(values)
    return np.float64("nan") if pd.isna(values) else np.float64(values)


def _whole(row: Any, *names: str) -> dict[str, int | None]:
    values = {name: getattr(row, name) for name in names}
    return {name: None if pd.isna(value) else int(value) for name, value in values.items()}


def _text(value: Any) -> str | None:
    return None if pd.isna(value) else str(value)
