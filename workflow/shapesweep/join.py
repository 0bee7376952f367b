"""The join: the tables of every checkpoint become one, without those that the others speak against.

Takes in the manifests and every checkpoint's geometry; hands on the joined tables, the
failures among them. What can only be said of a checkpoint beside its neighbours is said here.
"""

import itertools
import operator
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa

from shapesweep import contracts, integrity, tables
from shapesweep.checkpoint import family
from shapesweep.failures import recorded
from shapesweep.geometry import AGAIN

_KEY = ["suite", "run", "revision"]
_NOTHING = pd.DataFrame(columns=contracts.HISTORY.names)
#: An untrained causal model's loss lies this near to ln(vocabulary), in nats.
START_LOSS = 0.5


def join(
    manifests: list[Path],
    geometry: str | Path,
    out: str | Path,
    accepted: Mapping[str, Sequence[str]] | None = None,
    budgets: Sequence[str | Path] = (),
    histories: Sequence[str | Path] = (),
) -> None:
    """Join the tables of all selected checkpoints.

    Parameters
    ----------
    manifests : list of path-like
        One a suite; their `selected` rows are joined, what else was chosen are failures.
    geometry : path-like
        Folder with `<suite>/<run>/<revision>/`.
    out : path-like
        Folder for `geometry`, `replicates`, `losses`, `budgets`, `origins`, `failures`, `history`,
        `continuity` and `manifest` (`.parquet`).
    accepted : dict of sequence of str, optional
        By suite, the flags that exclude nothing.
    budgets : sequence of path-like
        One a checkpoint of which it was asked for.
    histories : sequence of path-like
        One a suite.
    """
    listed = pd.concat([tables.read(path, contracts.MANIFEST) for path in manifests])
    rows = listed[listed.selected].itertuples()
    placed = [(row, Path(geometry) / row.suite / row.run / row.revision) for row in rows]
    # What a live run has added since the sweep was planned waits for the next one.
    placed = [(row, place) for row, place in placed if place.is_dir()]
    continuity = _continuity(placed)
    doubts = _doubts(placed, continuity, accepted or {})
    flagged = listed[listed.chosen & ~listed.selected | listed.status.map(_is_empty_main)]
    key = operator.itemgetter("suite", "run", "revision")
    excluded = {key(one) for one in doubts if not one["measured"]}
    kept = [p for row, p in placed if (row.suite, row.run, row.revision) not in excluded]
    named = {"geometry": contracts.GEOMETRY, "replicates": contracts.REPLICATES}
    for name, schema in named.items():
        every = (tables.read_arrow(place / f"{name}.parquet", schema) for place in kept)
        tables.write_parts(every, schema, Path(out) / f"{name}.parquet")
    counted = [tables.read_arrow(path, contracts.BUDGETS) for path in budgets]
    budgeted = pa.concat_tables([contracts.BUDGETS.empty_table(), *counted]).to_pylist()
    sound = [one for one in budgeted if key(one) not in excluded]
    tables.write(sound, contracts.BUDGETS, Path(out) / "budgets.parquet")
    origins = [_origins(place) for place in kept]
    tables.write(
        [one for of in origins for one in of], contracts.ORIGINS, Path(out) / "origins.parquet"
    )
    parts = [tables.read(place / "losses.parquet", contracts.LOSSES) for place in kept]
    losses = pd.concat(parts) if parts else pd.DataFrame(columns=contracts.LOSSES.names)
    history = pd.concat([tables.read(path, contracts.HISTORY) for path in histories] or [_NOTHING])
    tables.write(history, contracts.HISTORY, Path(out) / "history.parquet")
    logged = history[(history.source == "log") & (history.metric == "loss")]
    losses = pd.concat([losses, logged]).reindex(columns=contracts.LOSSES.names)
    losses = losses.sort_values(["suite", "run", "source", "step"], kind="stable")
    tables.write(losses, contracts.LOSSES, Path(out) / "losses.parquet")
    tables.write(continuity, contracts.CONTINUITY, Path(out) / "continuity.parquet")
    tables.write(_flagged(listed, continuity), contracts.MANIFEST, Path(out) / "manifest.parquet")
    found = [_failure(row, ", ".join(row.status)) for row in flagged.itertuples()] + doubts
    failed = [tables.read(place / "failures.parquet", contracts.FAILURES) for _, place in placed]
    failures = pd.concat([pd.DataFrame(found, columns=contracts.FAILURES.names), *failed])
    tables.write(failures, contracts.FAILURES, Path(out) / "failures.parquet")


def forget(results: str | Path) -> None:
    """Remove what stands for checkpoints that could not be had this time: the next run asks again.

    Parameters
    ----------
    results : path-like
    """
    for mark in Path(results, "geometry").glob(f"*/*/*/{AGAIN}"):
        suite, run = mark.parts[-4:-2]
        tokenizer = Path(results, "tokenizers", suite, run)
        if (recorded(tokenizer) or {}).get("transient"):
            shutil.rmtree(tokenizer, ignore_errors=True)
        shutil.rmtree(mark.parent, ignore_errors=True)


def _continuity(placed: list[tuple[Any, Path]]) -> pd.DataFrame:
    """What the weights of every run's neighbours say of each other: `contracts.CONTINUITY`."""
    runs: dict[tuple[str, str], list[tuple[Any, integrity.Sample]]] = {}
    for row, place in placed:
        if (place / "sample.parquet").is_file():
            found = tables.read(place / "sample.parquet", contracts.SAMPLE)
            by_class = found.groupby("tensor_class", sort=False).value
            sample = {kind: values.to_numpy(np.float32) for kind, values in by_class}
            runs.setdefault((row.suite, row.run), []).append((row, sample))
    made = []
    for (suite, run), members in runs.items():
        steps = [None if pd.isna(row.step) else int(row.step) for row, _ in members]
        flags = integrity.continuity([sample for _, sample in members], steps)
        for k, ((before, a), (row, b)) in enumerate(itertools.pairwise(members), start=1):
            pair = {"suite": suite, "run": run, "previous": before.revision}
            pair |= {"revision": row.revision, "step": row.step, "flag": flags.get(k, "")}
            if k == 1 and 0 in flags:
                # The first has no neighbour before it to stand beside.
                made.append({**pair, "revision": before.revision, "flag": flags[0]})
            for kind in (kind for kind in a if kind in b and len(a[kind]) == len(b[kind])):
                x, y = a[kind].astype(float), b[kind].astype(float)
                size = float(np.linalg.norm(x)) or 1.0
                numbers = {"tensor_class": kind, "n_weights": len(x)}
                numbers["correlation"] = integrity.correlation(x, y)
                made.append({**pair, **numbers, "distance": float(np.linalg.norm(y - x)) / size})
    return pd.DataFrame(made, columns=contracts.CONTINUITY.names)


def _flagged(listed: pd.DataFrame, continuity: pd.DataFrame) -> pd.DataFrame:
    """The manifests of all suites, each status with what the weights have told."""
    found = continuity[continuity.flag != ""].drop_duplicates(_KEY).set_index(_KEY).flag
    keys = listed[_KEY].itertuples(index=False, name=None)
    status = [
        [*known, *([found[key]] if key in found.index else [])]
        for known, key in zip(listed.status, keys, strict=True)
    ]
    return listed.assign(status=status)


#: Why a checkpoint is no continuation; only of a break it is not known which side is the wrong one.
_REASONS = {
    "discontinuous": "its neighbours lie closer together",
    "out_of_order": "its label and its neighbour's are swapped, by their weights",
    "break": "it lies far from {previous}, and its like follow: a training was restarted",
}


def _doubts(
    placed: list[tuple[Any, Path]],
    continuity: pd.DataFrame,
    accepted: Mapping[str, Sequence[str]],
) -> list[dict[str, Any]]:
    """What the weights and losses of a run's checkpoints tell against each other."""
    found = []
    flagged = continuity[continuity.flag != ""].drop_duplicates(_KEY)
    for one in flagged.itertuples():
        reason = _REASONS[one.flag].format(previous=one.previous)
        kept = one.flag == "break" or "discontinuous" in accepted.get(one.suite, ())
        found.append(_failure(one, f"{one.flag}: {reason}", measured=kept))
    for row, place in placed:
        doubt = _start(row, place) if (place / "sample.parquet").is_file() else None
        if doubt:
            found.append(_failure(row, doubt, measured=True))
    return found


def _start(row: Any, place: Path) -> str | None:
    """What is odd about the loss of a causal model that has not been trained yet."""
    losses = tables.read(place / "losses.parquet", contracts.LOSSES)
    losses = losses[(losses.source == "eval") & losses.corpus.isin(["text", "random"])]
    is_start = not pd.isna(row.step) and row.step == 0
    if not is_start or family(str(row.architecture)) != "decoder" or not len(losses):
        return None
    vocabulary = tables.read_metadata(place / "sample.parquet").get("vocabulary")
    loss = float(losses.sort_values("corpus", ascending=False).value.iloc[0])
    if not vocabulary or abs(loss - np.log(vocabulary)) <= START_LOSS:
        return None
    return (
        f"its loss at step 0 is {loss:.2f}, where an untrained model of {vocabulary:,} entries has "
        f"about {np.log(vocabulary):.2f}"
    )


def _origins(place: Path) -> list[dict[str, Any]]:
    """What a checkpoint's numbers were made from and by, corpus by corpus."""
    made = []
    origins = tables.read_metadata(place / "geometry.parquet").get("origins", {})
    for corpus, one in origins.items():
        known = {**one["from"], **one["by"], "corpus": corpus}
        made.append({name: known.get(name) for name in contracts.ORIGINS.names})
    return made


def _failure(row: Any, reason: str, measured: bool = False) -> dict[str, Any]:
    place = {"suite": row.suite, "run": row.run, "revision": row.revision, "step": row.step}
    return {**place, "reason": reason, "measured": measured, "transient": False}


def _is_empty_main(status: Sequence[str]) -> bool:
    return "empty_main" in status
