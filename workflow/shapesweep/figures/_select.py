"""Selection of rows for figures, and the note that describes the selected rows."""

import numpy as np
import pandas as pd

from shapesweep.curves.tables import corpora
from shapesweep.curves.tables import rows as rows
from shapesweep.estimators.course import thinned
from shapesweep.storage import axis

#: Maximum number of runs that get panels. The CSV and the report page contain all runs.
PANELS = 6
#: Meaning of bands and bars, for the notes of figures.
INTERVALS = "95 % intervals over documents"


def at_last(table: pd.DataFrame) -> pd.DataFrame:
    """For each run, select the rows of the last checkpoint, or all rows if the run has no steps."""
    last = table.groupby(["suite", "run"]).step.transform("max")
    return table[(table.step == last).fillna(False) | last.isna()]


def with_step(table: pd.DataFrame) -> pd.DataFrame:
    """Select rows of checkpoints whose step is known."""
    return table[table.step.notna()]


def at_chosen(table: pd.DataFrame, n: int) -> pd.DataFrame:
    """Select rows of at most `n` checkpoints of every run, evenly spaced in `Axis.log`."""
    parts = []
    for _, part in table.groupby(["suite", "run"], sort=False):
        steps = np.sort(part.step.dropna().unique().astype(float))
        if len(steps) > n:
            part = part[part.step.isin(steps[thinned(axis.of_rows(part).log(steps), n)])]
        parts.append(part)
    return pd.concat(parts) if parts else table


def by_axis(data: pd.DataFrame) -> list[pd.DataFrame]:
    """Split the rows of several runs into parts whose runs can share an axis of training.

    If some runs are on steps and others on tokens, all of them are put on tokens. If the tokens of
    some checkpoints are not known, there are two parts: the runs on steps, and the runs on tokens.
    """
    on_tokens = axis.is_of(data, axis.runs_on_tokens(data))
    if on_tokens.all() or not on_tokens.any():
        return [data]
    if data.tokens[data.step.notna()].notna().all():
        return [data.assign(step=data.tokens)]
    return [data[~on_tokens], data[on_tokens]]


def runs(data: pd.DataFrame) -> list[tuple[str, str, str]]:
    """Return (suite, run, family) of the runs that get panels, decoders first.

    If there are more than `PANELS` runs, the first seed of every model has priority over all other
    seeds. Among the first seeds, the first run of every family has priority over all other runs.
    """
    found = data[["suite", "run", "family", "model"]].drop_duplicates().reset_index(drop=True)
    seed = found.groupby(["suite", "model"]).cumcount()
    rank = found.assign(seed=seed).groupby(["seed", "family"]).cumcount()
    order = pd.DataFrame({"seed": seed, "rank": rank}).sort_values(["seed", "rank"], kind="stable")
    chosen = found.loc[order.index[:PANELS], ["suite", "run", "family"]].sort_index()
    return sorted(chosen.itertuples(index=False, name=None), key=lambda run: run[2])


def of_run(data: pd.DataFrame, run: tuple[str, str, str]) -> pd.DataFrame:
    """Select the rows of a run."""
    return data[(data.suite == run[0]) & (data.run == run[1])]


def subtitle(data: pd.DataFrame, *more: str, drawn: int | None = PANELS) -> str:
    """Return the note of a figure: documents and number of points N of each corpus, and `more`.

    If there are more than `drawn` runs, the note says how many runs are drawn. If `drawn` is None,
    all runs are drawn.
    """
    described: dict[str, list[str]] = {}
    for name in corpora(data[data.n_documents.notna()]):
        part = data[data.corpus == name]
        row = part[part.n_documents.notna()].iloc[0]
        words = f"{int(row.n_documents):,} documents of {row.document_length} tokens"
        dimensions = part[part.metric.str.startswith("id_")]
        if len(dimensions) and "n_points" in dimensions:
            words += f", N = {int(dimensions.n_points.max()):,}"
        described.setdefault(words, []).append(name)
    lines = [f"{'/'.join(names)}: {words}" for words, names in described.items()]
    # Corpora with other documents get a line of their own.
    parts = ["\n".join(lines)] if lines else []
    n_runs = len(data[["suite", "run"]].drop_duplicates())
    if drawn is not None and n_runs > drawn:
        parts.append(f"{drawn} of {n_runs} runs")
    head = "; ".join(parts)
    return "\n".join([head, "; ".join(more)] if more and head else [head or "; ".join(more)])
