"""Sentences on the findings of a run, for the summary and the page.

The first sentence on the ID states whether the paper's curve and its control rise and then fall.
"""

import math
from dataclasses import dataclass
from typing import Any

import pandas as pd

from shapesweep.corpora import CORPORA
from shapesweep.curves.phases import NOT_SHOWN
from shapesweep.curves.tables import corpora, rows
from shapesweep.storage import axis

#: Verdicts on the claim of two phases, as in the table `verdicts`.
_VERDICTS = {
    "both": "the paper's curve and its control both rise and then fall beyond the noise",
    "paper only": "the paper's curve rises and then falls beyond the noise; its control does not",
    "control only": "the control rises and then falls beyond the noise; the paper's curve does not",
    "neither": "neither the paper's curve nor its control rises and then falls beyond the noise",
}
#: The tested curves, each with its name and the key of the configuration.
_ROLES = {"paper": "The paper's curve", "control": "The control"}
#: Groups of tokens, each with its name and the selection without it.
_GROUPS = {
    "first": ("first tokens", "no_first"),
    "massive": ("other massive tokens", "no_other_massive"),
    "bulk": ("tokens that are neither first nor massive", "no_bulk"),
}
#: Shares of nearest neighbours, each with what the neighbour has in common with the token.
_SHARES = {
    "same_document_nn": "is in the same document",
    "same_token_nn": "is the same token",
    "same_position_nn": "has the same position",
}
#: Largest relative error of TwoNN, about 1/√N (Facco et al. 2017), that is not mentioned.
_LARGE_ERROR = 0.03


@dataclass(frozen=True)
class Run:
    """The curves of one run on one corpus.

    Attributes
    ----------
    suite, run, corpus : str
    profiles, trajectories, shapes : pandas.DataFrame
        The rows of each table that belong to the run and the corpus. All intervals are computed
        over documents.
    phases, moves, verdicts : pandas.DataFrame
        The rows of each table that belong to the run, on all corpora.
    """

    suite: str
    run: str
    corpus: str
    profiles: pd.DataFrame
    trajectories: pd.DataFrame
    shapes: pd.DataFrame
    phases: pd.DataFrame
    moves: pd.DataFrame
    verdicts: pd.DataFrame

    @property
    def title(self) -> str:
        """A title that contains the run's name, architecture, size and corpus."""
        row = self.profiles.iloc[0]
        kind = f"{row.architecture} ({row.family}), {row.n_layers} blocks"
        return f"{self.suite}/{self.run}: {kind}; on {self.corpus}"

    @property
    def axis(self) -> axis.Axis:
        """The axis of the run's checkpoints."""
        return axis.of_rows(self.profiles)

    @property
    def is_last(self) -> bool:
        """Whether only the last token of each document is measured."""
        return bool(self.profiles.pooling.iloc[0] == "last")


def runs(
    profiles: pd.DataFrame,
    trajectories: pd.DataFrame,
    phases: pd.DataFrame,
    moves: pd.DataFrame,
    verdicts: pd.DataFrame,
    shapes: pd.DataFrame,
) -> list[Run]:
    """Return the curves of every run on the corpus `text`; without it, on the first corpus.

    Parameters
    ----------
    profiles, trajectories, phases, moves, verdicts, shapes : pandas.DataFrame
        Tables with the schemas of these names.

    Returns
    -------
    list of Run
    """
    runs_found = []
    for (suite, run), part in rows(profiles).groupby(["suite", "run"], sort=False):
        # Corpora of passages have no profiles of the anisotropy.
        whole = part[part.pooling != "passages"]
        corpus = corpora(whole if len(whole) else part)[0]
        key = {"suite": suite, "run": run}
        of_corpus = [
            rows(table, **key, corpus=corpus) for table in (profiles, trajectories, shapes)
        ]
        of_all = [rows(table, **key) for table in (phases, moves, verdicts)]
        runs_found.append(Run(suite, run, corpus, *of_corpus, *of_all))
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
    found = [
        f"Anisotropy over depth, {_when(run, last)}: {_shape(last)}.",
        *_sinks(run, last, known),
    ]
    if highest.revision != last.revision:
        found.append(f"At its highest, {_when(run, highest)}: {_shape(highest)}.")
    return found


def _sinks(run: Run, last: Any, shapes: pd.DataFrame) -> list[str]:
    """State which tokens make up the variance along the leading axis, at the highest block."""
    here = run.profiles[run.profiles.revision == last.revision]
    blocks = rows(here, metric="anisotropy", selection="all", layer_kind="block")
    blocks = blocks[blocks.value.notna()]
    if not len(blocks) or run.is_last:
        return []
    highest = blocks.loc[blocks.value.astype(float).idxmax()]
    at_highest = rows(here[here.layer == highest.layer], layer_kind="block")
    parts = []
    for group, (words, selection) in _GROUPS.items():
        share = rows(at_highest, metric=f"leading_share_{group}", selection="all").value
        left = rows(at_highest, metric="anisotropy", selection=selection).value
        # A share that rounds to 0 % is not worth a statement.
        if len(share) and share.iloc[0] >= 0.005:
            known = len(left) and pd.notna(left.iloc[0])
            rest = f" (anisotropy without them: {left.iloc[0]:.2f})" if known else ""
            parts.append(f"{share.iloc[0]:.0%} comes from {words}{rest}")
    bulk = shapes[(shapes.selection == "no_first") & (shapes.revision == last.revision)]
    shape = f" Without first tokens, the profile is {_named(bulk.iloc[0])}." if len(bulk) else ""
    return [
        f"At block {highest.layer}, the anisotropy of all tokens is {highest.value:.2f}. Of the "
        f"variance along the leading axis, {', '.join(parts)}.{shape}"
    ]


def on_phases(run: Run) -> list[str]:
    """State the verdict on the two phases of the ID, and describe the two tested curves."""
    usual = rows(run.verdicts, variant="")
    if not len(usual):
        return []
    verdict = usual.sort_values("sample").iloc[0]
    first = run.phases[run.phases.corpus.isin(CORPORA)]
    tested = {
        role: first[first.tested == role].iloc[0] for role in _ROLES if (first.tested == role).any()
    }
    metrics = "/".join(dict.fromkeys(curve.metric for curve in tested.values()))
    head = f"Two phases ({metrics}, middle blocks): {_judged(usual)}"
    found = [head, *(_described(run, role, curve) for role, curve in tested.items())]
    if verdict.n_curves:
        found.append(
            f"Of {verdict.n_curves} other curves, which are described but not tested, "
            f"{verdict.n_shown} rise and then fall."
        )
    others = run.verdicts[run.verdicts.variant != ""]
    for variant, mine in others.groupby("variant", sort=False):
        found.append(f"With the documents of the variant {variant}: {_judged(mine)}")
    return [*found, *_neighbours(run)]


def on_seeds(verdicts: pd.DataFrame, trajectories: pd.DataFrame) -> list[str]:
    """State the verdict on the mean over the seeds of every model, and the spread of its ID.

    Parameters
    ----------
    verdicts, trajectories : pandas.DataFrame
        Tables with the schemas of these names.

    Returns
    -------
    list of str
        One sentence for every model with several seeds.
    """
    found = []
    of_seeds = rows(verdicts, over="seeds")
    for (suite, model), mine in of_seeds.groupby(["suite", "model"], sort=False):
        key = {"suite": suite, "model": model, "layers": "middle", "metric": "id_twonn"}
        line = rows(trajectories, **key, over="seeds", selection="no_first")
        line = line[line.corpus == corpora(line)[0]].sort_values("step") if len(line) else line
        text = f"{suite}/{model}, mean over seeds: {_judged(rows(mine, over='seeds', variant=''))}"
        if len(line):
            last, along = line.iloc[-1], axis.of_rows(line)
            text += (
                f" At {along.at(last.step)}, the ID (id_twonn) of the middle blocks is "
                f"{last.value:.2f} (95 % interval over seeds {last.low:.2f} to {last.high:.2f})."
            )
        found.append(text)
    return found


def _judged(verdicts: pd.DataFrame) -> str:
    """State the verdict of a run, or the verdicts of its samples of documents if they differ."""
    verdicts = verdicts.sort_values("sample")
    names = verdicts.verdict.tolist()
    if len(set(names)) > 1:
        counts = {name: names.count(name) for name in dict.fromkeys(names)}
        parts = [f"{name} ({count})" for name, count in counts.items()]
        return f"the {len(names)} samples of documents have different verdicts: {', '.join(parts)}."
    first = verdicts.iloc[0]
    if first.verdict not in _VERDICTS:
        reasons = [f"{role} curve: {first[role]}" for role in _ROLES]
        return f"not tested ({'; '.join(reasons)})."
    text = f"{_VERDICTS[first.verdict]}."
    return f"{text} All {len(names)} samples of documents agree." if len(names) > 1 else text


def _described(run: Run, role: str, curve: Any) -> str:
    """Describe the rises and falls of a tested curve."""
    what = (
        f"{_ROLES[role]} ({curve.metric} of {curve.corpus}, {curve.selection}, "
        f"N = {curve.n_points:,})"
    )
    if pd.isna(curve.noise):
        return f"{what}: {curve.verdict}."
    same = {name: curve[name] for name in ("corpus", "selection", "metric")}
    moves = rows(run.moves, **same, layers="middle").sort_values("number")
    at = run.axis.at
    words = [
        f"it {move.kind}s by {move.size:.2f} ({move.low:.2f} to {move.high:.2f}) from "
        f"{at(move.from_step)} to {at(move.to_step)}"
        for move in moves.itertuples()
    ]
    first, last = at(curve.first_step), at(curve.last_step)
    text = f"{what}: {curve['first']:.2f} at {first}, {curve['last']:.2f} at {last}; "
    text += ", then ".join(words) if words else "no rise and no fall exceeds the noise"
    if curve.verdict == NOT_SHOWN:
        text += f"; rises and falls of less than {curve.resolution:.2f} may be missed"
    error = 1 / math.sqrt(curve.n_points)
    if curve.metric == "id_twonn" and error > _LARGE_ERROR:
        text += f"; N is small, so the relative error of each ID is about {error:.0%}"
    doubt = "; the points do not fit the estimator (poor_fit)" if "poor_fit" in curve.flag else ""
    return f"{text}{doubt}."


def _neighbours(run: Run) -> list[str]:
    """State how many nearest neighbours share the document, the token or the position."""
    every = {"layers": "middle", "selection": "no_first"}
    parts, steps = [], None
    for metric, words in _SHARES.items():
        line = rows(run.trajectories, metric=metric, **every)
        line = line[line.value.notna() & line.step.notna()].sort_values("step")
        if len(line) > 1 and not run.is_last:
            steps = line.step.iloc[0], line.step.iloc[-1]
            parts.append(f"{words}: {line.value.iloc[0]:.0%} and {line.value.iloc[-1]:.0%}")
    if steps is None:
        return []
    head = "Share of tokens whose nearest neighbour"
    first, last = map(run.axis.at, steps)
    return [f"{head} {'; '.join(parts)} ({first} and {last})."]


def _when(run: Run, row: Any) -> str:
    return str(row.revision) if pd.isna(row.step) else run.axis.at(row.step)


def _named(row: Any) -> str:
    articles = {"dome": "a dome", "box": "a box", "other": "neither dome nor box nor flat"}
    return articles.get(row["shape"], row["shape"])


def _shape(row: Any) -> str:
    ends = f"({row.height_low:.2f} to {row.height_high:.2f})"
    if pd.notna(row.height_without_group):
        ends = f"(rests on one group of documents; {row.height_without_group:.2f} without it)"
    height = f"{row.height:.2f} {ends}"
    if row["shape"] in {"dome", "box"}:
        where = f"centred at {row.centre:.0%} of the depth, from {row.left:.0%} to {row.right:.0%}"
        return f"{_named(row)}, {height} above both ends, {where}"
    return f"{_named(row)}, its highest inner layer {height} above the higher end"
