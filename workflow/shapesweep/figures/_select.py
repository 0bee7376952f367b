"""The rows that figures draw: chosen from the curves, and told in one line."""

from typing import Any

import numpy as np
import pandas as pd

#: Runs that have panels of their own; of more, the CSV has all and the page shows each.
PANELS = 6


def rows(table: pd.DataFrame, **wanted: Any) -> pd.DataFrame:
    """Rows of single runs with these values; a list is any of them."""
    chosen = table
    if "over" in table and "over" not in wanted:
        wanted["over"] = "documents"
    for name, value in wanted.items():
        many = value if isinstance(value, list) else [value]
        chosen = chosen[chosen[name].isin(many)]
    return chosen


def at_last(table: pd.DataFrame) -> pd.DataFrame:
    """Rows of every run's last checkpoint; of a run without steps, all."""
    last = table.groupby(["suite", "run"]).step.transform("max")
    return table[(table.step == last).fillna(False) | last.isna()]


def at_chosen(table: pd.DataFrame, n: int) -> pd.DataFrame:
    """Rows of at most `n` checkpoints of every run, evenly spaced along training."""
    parts = []
    for _, part in table.groupby(["suite", "run"], sort=False):
        steps = sorted(part.step.dropna().unique())
        places = np.linspace(0, len(steps) - 1, min(n, len(steps))).round().astype(int)
        kept = {steps[i] for i in places}
        parts.append(part[part.step.isin(kept)] if kept else part)
    return pd.concat(parts) if parts else table


def runs(data: pd.DataFrame) -> list[tuple[str, str, str]]:
    """(suite, run, family) of those that get panels, decoders first."""
    found = data[["suite", "run", "family"]].drop_duplicates().itertuples(index=False, name=None)
    return sorted(found, key=lambda run: run[2])[:PANELS]


def of_run(data: pd.DataFrame, run: tuple[str, str, str]) -> pd.DataFrame:
    """Rows of a run."""
    return data[(data.suite == run[0]) & (data.run == run[1])]


def corpora(data: pd.DataFrame) -> list[str]:
    """The corpora that are shown, the text first."""
    return sorted(dict.fromkeys(data.corpus.dropna()), key=lambda name: name != "text")


def told(data: pd.DataFrame, *more: str, drawn: int | None = PANELS) -> str:
    """What a figure shows, in a line or two: corpus, documents, N, and what else is said.

    Where there are more runs than are drawn, it says so; None draws all.
    """
    first = data[data.n_documents.notna()]
    parts = []
    if len(first):
        one = first.iloc[0]
        names = "/".join(corpora(first))
        parts.append(f"{names}, {one.n_documents} documents of {one.document_length} tokens")
    neighbours = data[data.metric.str.startswith("id_")]
    if len(neighbours) and "n_points" in neighbours:
        parts.append(f"N = {int(neighbours.n_points.max()):,}")
    n_runs = len(data[["suite", "run"]].drop_duplicates())
    if drawn is not None and n_runs > drawn:
        parts.append(f"{drawn} of {n_runs} runs")
    head = "; ".join(parts)
    return "\n".join([head, "; ".join(more)] if more and head else [head or "; ".join(more)])
