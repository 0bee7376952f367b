"""The join: the tables of every checkpoint become one, without those that the others speak against.

Takes in the manifests and every checkpoint's geometry; hands on the joined tables, the
failures among them. What can only be said of a checkpoint beside its neighbours is said here.
"""

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

#: An untrained causal model's loss lies this near to ln(vocabulary), in nats.
START_LOSS = 0.5


def join(
    manifests: list[Path],
    geometry: str | Path,
    out: str | Path,
    accepted: Mapping[str, Sequence[str]] | None = None,
    budgets: Sequence[str | Path] = (),
) -> None:
    """Join the tables of all selected checkpoints.

    Parameters
    ----------
    manifests : list of path-like
        One a suite; their `selected` rows are joined, what else was chosen are failures.
    geometry : path-like
        Folder with `<suite>/<run>/<revision>/`.
    out : path-like
        Folder for `geometry`, `replicates`, `losses`, `budgets`, `origins` and `failures`
        (`.parquet`).
    accepted : dict of sequence of str, optional
        By suite, the flags that exclude nothing.
    budgets : sequence of path-like
        One a checkpoint of which it was asked for.
    """
    listed = pd.concat([tables.read(path, contracts.MANIFEST) for path in manifests])
    rows = listed[listed.selected].itertuples()
    placed = [(row, Path(geometry) / row.suite / row.run / row.revision) for row in rows]
    # What a live run has added since the sweep was planned waits for the next one.
    placed = [(row, place) for row, place in placed if place.is_dir()]
    doubts = _doubts(placed, accepted or {})
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
    # Every checkpoint tells the whole log up to itself: once is enough.
    losses = losses.sort_values(["suite", "run", "source", "step"], kind="stable")
    repeated = losses.duplicated(["suite", "run", "step", "source"], keep="last")
    losses = losses[~repeated | (losses.source == "eval")]
    tables.write(losses, contracts.LOSSES, Path(out) / "losses.parquet")
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


def _doubts(
    placed: list[tuple[Any, Path]], accepted: Mapping[str, Sequence[str]]
) -> list[dict[str, Any]]:
    """What the weights and losses of a run's checkpoints tell against each other."""
    runs: dict[tuple[str, str], list[tuple[Any, Path]]] = {}
    for row, place in placed:
        if (place / "sample.parquet").is_file():
            runs.setdefault((row.suite, row.run), []).append((row, place))
    found = []
    for (suite, _), members in runs.items():
        samples = [
            tables.read(place / "sample.parquet", contracts.SAMPLE).value.to_numpy(np.float32)
            for _, place in members
        ]
        for k in integrity.out_of_line(samples):
            before, row, after = (members[k + i][0] for i in (-1, 0, 1))
            reason = f"discontinuous: {before.revision} and {after.revision} lie closer together"
            kept = "discontinuous" in accepted.get(suite, ())
            found.append(_failure(row, reason, measured=kept))
        for row, place in members:
            doubt = _start(row, place)
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
