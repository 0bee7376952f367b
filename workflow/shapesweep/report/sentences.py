"""The findings: what the curves of a run say, in sentences.

Takes in the curves; hands on words, for the closing words of a sweep and for its report. The first
sentence on the ID says what remains of its two phases once neighbours come from other documents.
"""

from dataclasses import dataclass
from typing import Any

import pandas as pd

#: By whether there is a peak with all neighbours, and between documents.
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
        Rows of that run and corpus alone, over documents.
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
        """What the run is."""
        one = self.profiles.iloc[0]
        kind = f"{one.architecture} ({one.family}), {one.n_layers} blocks"
        return f"{self.suite}/{self.run}: {kind}; on {self.corpus}"

    @property
    def is_last(self) -> bool:
        """Whether only the last token of each document was measured."""
        return bool(self.profiles.pooling.iloc[0] == "last")

    @property
    def n_steps(self) -> int:
        """Checkpoints with a step of their own."""
        return int(self.profiles.step.nunique())


def runs(
    profiles: pd.DataFrame,
    trajectories: pd.DataFrame,
    phases: pd.DataFrame,
    shapes: pd.DataFrame,
) -> list[Run]:
    """Every run with its curves on the text; without one, on the first corpus that it has.

    Parameters
    ----------
    profiles, trajectories, phases, shapes : pandas.DataFrame
        `schemas.PROFILES`, `schemas.TRAJECTORIES`, `schemas.PHASES` and `schemas.SHAPES`.

    Returns
    -------
    list of Run
    """
    single = [t[t.over == "documents"] for t in (profiles, trajectories, phases)]
    made = []
    for (suite, run), part in single[0].groupby(["suite", "run"], sort=False):
        corpus = "text" if "text" in set(part.corpus) else part.corpus.iloc[0]
        mine = [
            t[(t.suite == suite) & (t.run == run) & (t.corpus == corpus)] for t in (*single, shapes)
        ]
        made.append(Run(suite, run, corpus, *mine))
    return made


def sentences(run: Run) -> list[str]:
    """What a run shows: its dome, and what remains of the two phases.

    Parameters
    ----------
    run : Run

    Returns
    -------
    list of str
        Each ends with a full stop.
    """
    return [*on_dome(run), *on_phases(run)]


def on_dome(run: Run) -> list[str]:
    """The shape of the anisotropy over depth at the last checkpoint, and where it was highest."""
    known = run.shapes[(run.shapes.metric == "anisotropy") & (run.shapes["shape"] != "undefined")]
    every = known[known.selection == "all"]
    if not len(every):
        return ["The shape of the anisotropy over depth is not defined."]
    steps = every.step.astype("Float64")
    last = every.iloc[-1] if steps.isna().all() else every.loc[steps.idxmax()]
    highest = every.loc[every.height.astype(float).idxmax()]
    bulk = known[(known.selection == "no_first") & (known.revision == last.revision)]
    sinks = "" if run.is_last else _sinks(last, bulk)
    made = [f"Anisotropy over depth, {_when(last)}: {_shape(last)}{sinks}."]
    if highest.revision != last.revision:
        made.append(f"At its highest, {_when(highest)}: {_shape(highest)}.")
    return made


def on_phases(run: Run) -> list[str]:
    """What remains of the ID's two phases between documents, and how near documents stay."""
    found = run.phases[(run.phases.selection == "no_first") & (run.phases.layers == "middle")]
    ways = {n: found[found.metric == n] for n in ("id_twonn", "id_twonn_between")}
    if any(not len(one) for one in ways.values()):
        return []
    every, between = (one.iloc[0] for one in ways.values())
    unclear = [one.verdict for one in (every, between) if "peak" not in one.verdict]
    if unclear:
        return [f"Of two phases of the ID nothing can be said: {unclear[0]}."]
    head = _PHASES[every.verdict == "peak", between.verdict == "peak"]
    told = f"between documents TwoNN has {_peak(between)}; with all neighbours, {_peak(every)}"
    tokens = "last tokens" if run.is_last else "without the first token"
    return [f"{head}: {told} (middle blocks, {tokens}).", *_same_document(run)]


def _same_document(run: Run) -> list[str]:
    line = run.trajectories[
        (run.trajectories.metric == "same_document_nn")
        & (run.trajectories.layers == "middle")
        & (run.trajectories.selection == "no_first")
    ]
    line = line[line.value.notna() & line.step.notna()].sort_values("step")
    if len(line) < 2 or run.is_last:
        return []
    first, last = line.iloc[0], line.iloc[-1]
    return [
        f"The nearest neighbour lies in the same document for {first.value:.0%} of the tokens at "
        f"step {first.step:,}, for {last.value:.0%} at step {last.step:,}."
    ]


def _peak(one: Any) -> str:
    if one.verdict == "peak":
        return (
            f"a peak of {one.peak:.2f} at step {one.peak_step:,} (95 %: {one.peak_step_low:,} to "
            f"{one.peak_step_high:,}), {one.prominence:.2f} ± {one.half_width:.2f} above both "
            f"ends, p = {one.p_value:.2g} against a curve without one"
        )
    ends = f"{one.first:.2f} at step {one.first_step:,}, {one.last:.2f} at {one.last_step:,}"
    # How much of a peak the documents' noise leaves room for.
    room = f"{one.prominence:+.2f} ± {one.half_width:.2f}"
    return f"no peak ({ends}; the highest between lies {room} above both, p = {one.p_value:.2g})"


def _when(one: Any) -> str:
    return str(one.revision) if pd.isna(one.step) else f"step {one.step:,}"


def _named(one: Any) -> str:
    articles = {"dome": "a dome", "box": "a box", "other": "neither dome nor box nor flat"}
    return articles.get(one["shape"], one["shape"])


def _shape(one: Any) -> str:
    height = f"{one.height:.2f} ({one.height_low:.2f} to {one.height_high:.2f})"
    if one["shape"] in {"dome", "box"}:
        where = f"centred at {one.centre:.0%} of the depth, from {one.left:.0%} to {one.right:.0%}"
        return f"{_named(one)}, {height} above both ends, {where}"
    return f"{_named(one)}, its highest inner layer {height} above the higher end"


def _sinks(one: Any, bulk: pd.DataFrame) -> str:
    if pd.isna(one.sink_share):
        return ""
    ends = f"{max(one.sink_share_low, 0):.0%} to {min(one.sink_share_high, 1):.0%}"
    told = f"; {max(one.sink_share, 0):.0%} of it ({ends}) is the first token"
    return f"{told}, without which the profile is {_named(bulk.iloc[0])}" if len(bulk) else told
