"""Sentences on the findings of a run, for the summary and the page.

The first sentence on the ID states whether the two phases of the ID remain if only neighbours in
other documents are used.
"""

from dataclasses import dataclass
from typing import Any

import pandas as pd

from shapesweep.curves.tables import corpora, rows

#: The start of the sentence on the two phases of the ID. A key contains two bools: whether the ID
#: with all neighbours has a peak, and whether the ID between documents has a peak.
_PHASES = {
    (True, False): "Of the two phases of the ID none is shown any more once neighbours come from "
    "other documents",
    (True, True): "The two phases of the ID remain when neighbours come from other documents",
    (False, True): "Two phases of the ID are shown only between documents",
    (False, False): "No two phases of the ID are shown, neither with all neighbours nor between "
    "documents",
}


@dataclass(frozen=True)
class Run:
    """The curves of one run on one corpus.

    Attributes
    ----------
    suite, run, corpus : str
    profiles, trajectories, phases, shapes : pandas.DataFrame
        The rows of each table that belong to the run and the corpus. All intervals are computed
        over documents.
    """

    suite: str
    run: str
    corpus: str
    profiles: pd.DataFrame
    trajectories: pd.DataFrame
    phases: pd.DataFrame
    shapes: pd.DataFrame

    @property
    def title(self) -> str:
        """A title that contains the run's name, architecture, size and corpus."""
        row = self.profiles.iloc[0]
        kind = f"{row.architecture} ({row.family}), {row.n_layers} blocks"
        return f"{self.suite}/{self.run}: {kind}; on {self.corpus}"

    @property
    def is_last(self) -> bool:
        """Whether only the last token of each document is measured."""
        return bool(self.profiles.pooling.iloc[0] == "last")


def runs(
    profiles: pd.DataFrame,
    trajectories: pd.DataFrame,
    phases: pd.DataFrame,
    shapes: pd.DataFrame,
) -> list[Run]:
    """Return the curves of every run on the corpus `text`; without it, on the first corpus.

    Parameters
    ----------
    profiles, trajectories, phases, shapes : pandas.DataFrame
        Tables with the schemas `PROFILES`, `TRAJECTORIES`, `PHASES` and `SHAPES`.

    Returns
    -------
    list of Run
    """
    runs_found = []
    for (suite, run), part in rows(profiles).groupby(["suite", "run"], sort=False):
        corpus = corpora(part)[0]
        every = (profiles, trajectories, phases, shapes)
        mine = [rows(table, suite=suite, run=run, corpus=corpus) for table in every]
        runs_found.append(Run(suite, run, corpus, *mine))
    return runs_found


def sentences(run: Run) -> list[str]:
    """State the findings of a run on the shape of the anisotropy and on the two phases of the ID.

    Parameters
    ----------
    run : Run

    Returns
    -------
    list of str
        Each sentence ends with a full stop.
    """
    return [*on_dome(run), *on_phases(run)]


def on_dome(run: Run) -> list[str]:
    """State the anisotropy's shape at two checkpoints: the last, and the one of greatest height."""
    known = run.shapes[(run.shapes.metric == "anisotropy") & (run.shapes["shape"] != "undefined")]
    every = known[known.selection == "all"]
    if not len(every):
        return ["The shape of the anisotropy over depth is not defined."]
    steps = every.step.astype("Float64")
    last = every.iloc[-1] if steps.isna().all() else every.loc[steps.idxmax()]
    highest = every.loc[every.height.astype(float).idxmax()]
    bulk = known[(known.selection == "no_first") & (known.revision == last.revision)]
    sinks = "" if run.is_last else _sinks(last, bulk)
    sentences_found = [f"Anisotropy over depth, {_when(last)}: {_shape(last)}{sinks}."]
    if highest.revision != last.revision:
        sentences_found.append(f"At its highest, {_when(highest)}: {_shape(highest)}.")
    return sentences_found


def on_phases(run: Run) -> list[str]:
    """State whether the two phases of the ID remain if neighbours come from other documents."""
    found = rows(run.phases, selection="no_first", layers="middle")
    ways = [rows(found, metric=name) for name in ("id_twonn", "id_twonn_between")]
    if not all(map(len, ways)):
        return []
    every, between = (way.iloc[0] for way in ways)
    unclear = [phase.verdict for phase in (every, between) if "peak" not in phase.verdict]
    if unclear:
        return [f"Of two phases of the ID nothing can be said: {unclear[0]}."]
    head = _PHASES[every.verdict == "peak", between.verdict == "peak"]
    tokens = "last tokens" if run.is_last else "without the first token"
    sentence = (
        f"{head}: between documents TwoNN has {_peak(between)}; with all neighbours, "
        f"{_peak(every)} (middle blocks, {tokens})."
    )
    return [sentence, *_same_document(run)]


def _same_document(run: Run) -> list[str]:
    every = {"layers": "middle", "selection": "no_first"}
    line = rows(run.trajectories, metric="same_document_nn", **every)
    line = line[line.value.notna() & line.step.notna()].sort_values("step")
    if len(line) < 2 or run.is_last:
        return []
    first, last = line.iloc[0], line.iloc[-1]
    return [
        f"The nearest neighbour lies in the same document for {first.value:.0%} of the tokens at "
        f"step {first.step:,}, for {last.value:.0%} at step {last.step:,}."
    ]


def _peak(row: Any) -> str:
    if row.verdict == "peak":
        return (
            f"a peak of {row.peak:.2f} at step {row.peak_step:,} (95 %: {row.peak_step_low:,} to "
            f"{row.peak_step_high:,}), {row.prominence:.2f} ± {row.half_width:.2f} above both "
            f"ends, p = {row.p_value:.2g} against a curve without one"
        )
    ends = f"{row.first:.2f} at step {row.first_step:,}, {row.last:.2f} at {row.last_step:,}"
    # Add the interval of the prominence, because it shows how large an undetected peak could be.
    room = f"{row.prominence:+.2f} ± {row.half_width:.2f}"
    return f"no peak ({ends}; the highest between lies {room} above both, p = {row.p_value:.2g})"


def _when(row: Any) -> str:
    return str(row.revision) if pd.isna(row.step) else f"step {row.step:,}"


def _named(row: Any) -> str:
    articles = {"dome": "a dome", "box": "a box", "other": "neither dome nor box nor flat"}
    return articles.get(row["shape"], row["shape"])


def _shape(row: Any) -> str:
    height = f"{row.height:.2f} ({row.height_low:.2f} to {row.height_high:.2f})"
    if row["shape"] in {"dome", "box"}:
        where = f"centred at {row.centre:.0%} of the depth, from {row.left:.0%} to {row.right:.0%}"
        return f"{_named(row)}, {height} above both ends, {where}"
    return f"{_named(row)}, its highest inner layer {height} above the higher end"


def _sinks(row: Any, bulk: pd.DataFrame) -> str:
    if pd.isna(row.sink_share):
        return ""
    ends = f"{max(row.sink_share_low, 0):.0%} to {min(row.sink_share_high, 1):.0%}"
    text = f"; {max(row.sink_share, 0):.0%} of it ({ends}) is the first token"
    return f"{text}, without which the profile is {_named(bulk.iloc[0])}" if len(bulk) else text
