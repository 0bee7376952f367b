"""A report in Markdown on loss explosions: which signals warn of them, and whether the ID does."""

from collections.abc import Callable, Iterator
from typing import Any

import pandas as pd

from shapesweep.corpora import CORPORA
from shapesweep.curves.tables import Curves, rows
from shapesweep.explosions.scoring import CLAIMED, LEAST, corrected
from shapesweep.storage import axis

#: Columns that identify a curve of a run in the table `spiked`.
_OF_SPIKED = ["suite", "run", "metric", "corpus", "selection"]


def as_markdown(curves: Curves) -> str:
    """Report the results of a sweep of unstable and stable runs.

    Parameters
    ----------
    curves : Curves
        Only the tables `spikes`, `spiked`, `approaches`, `warnings` and `trajectories` are used.

    Returns
    -------
    str
        The report in Markdown.
    """
    lines = ["# Does anything warn of a loss explosion?", ""]
    for suite, spikes in curves.spikes.groupby("suite", sort=False):
        known = spikes[spikes.onset.notna()]
        lines += [f"## {suite}", "", _counted(spikes, known), ""]
        scored = rows(curves.warnings, suite=suite)
        if not len(scored):
            need = f"{LEAST} probed runs that explode, and {LEAST} that do not"
            lines += [f"No signal is scored, because scores need at least {need}.", ""]
            continue
        families, singles = (rows(scored, level=level) for level in ("family", "signal"))
        lines += _sentences(families)
        lines += _growth(rows(curves.approaches, suite=suite))
        lines += _swept(known, curves.trajectories)
        head = (
            f"signals | announced ({100 * corrected(len(families)):.3g} %) | by chance | lead, "
            "steps (95 %) | false alarms per 1,000 steps | alarms per 1,000 steps of "
            f"exploding runs, before the horizon | advantage of {CLAIMED}"
        )
        lines += ["", *_table(head, families, _family_cells), ""]
        head = (
            "signal | layer | k | family | announced | lead, steps (95 %) | false alarms per 1,000 "
            "steps"
        )
        lines += ["Single signals, the best first:", ""]
        lines += [*_table(head, singles, _signal_cells), ""]
    if not len(curves.spikes):
        lines += ["No loss was logged.", ""]
    return "\n".join([*lines, *_checkpoints(curves.spiked)])


def _checkpoints(spiked: pd.DataFrame) -> Iterator[str]:
    """Yield the lines of a section on the checkpoints before and in loss spikes."""
    if not len(spiked):
        return
    yield "## Checkpoints before and in loss spikes"
    yield ""
    n_runs = len(spiked[["suite", "run"]].drop_duplicates())
    yield (
        f"ID and anisotropy of the middle blocks of {n_runs} run{'s' if n_runs > 1 else ''}. These "
        "are descriptions and no score, because too few runs with spikes are published."
    )
    beside = spiked.reference.notna()
    has_log = ~beside & spiked.loss.notna()
    if has_log.any():
        yield ""
        yield "| run | metric | last checkpoint before | in the spike | after |"
        yield "|---|---|---|---|---|"
        for key, part in spiked[has_log].groupby(_OF_SPIKED, sort=False):
            part = part.sort_values("step")
            states = [part[part.state == state] for state in ("before", "in", "after")]
            cells = [_range(states[0].tail(1)), _range(states[1]), _range(states[2])]
            yield f"| {' | '.join([_run(key), _quantity(key), *cells])} |"
    if beside.any():
        yield ""
        yield (
            "| run in the spike | beside | metric | steps | difference, median (lowest to highest) "
            "| beyond the intervals |"
        )
        yield "|---|---|---|---|---|---|"
        for key, part in spiked[beside].groupby([*_OF_SPIKED, "reference"], sort=False):
            part = part.dropna(subset=["value", "low", "high"])
            part = part.dropna(subset=["reference_value", "reference_low", "reference_high"])
            if not len(part):
                continue
            change = (part.value - part.reference_value).astype(float)
            # Both runs are measured on the same documents, so their errors tend to cancel.
            room = (
                (part.high - part.value) ** 2 + (part.reference_high - part.reference_value) ** 2
            ) ** 0.5
            ends = f"{change.median():+.2f} ({change.min():+.2f} to {change.max():+.2f})"
            beyond = f"{int((change.abs() > room).sum())} of {len(part)}"
            cells = [_run(key), str(key[-1]), _quantity(key), _steps(part), ends, beyond]
            yield f"| {' | '.join(cells)} |"
    runs = spiked[["suite", "run"]].drop_duplicates().apply(tuple, axis=1)
    known = set(spiked[beside | has_log][["suite", "run"]].apply(tuple, axis=1))
    for key in (key for key in runs if key not in known):
        yield ""
        yield (
            f"{_run(key)}: its checkpoints are in a spike, but its repository has no run with "
            "checkpoints at the same steps."
        )
    yield ""


def _run(key: tuple[Any, ...]) -> str:
    return f"{key[0]}/{key[1]}"


def _quantity(key: tuple[Any, ...]) -> str:
    return f"`{key[2]}` of {key[3]}, {key[4]}"


def _steps(part: pd.DataFrame) -> str:
    """Return the first and the last position of some checkpoints; numbers of tokens with a unit."""
    along = axis.of_rows(part)
    ends = f"{along.number(part.step.min())} to {along.number(part.step.max())}"
    return f"{ends} tokens" if along.on_tokens else ends


def _range(part: pd.DataFrame) -> str:
    """Describe the values of some checkpoints: a value with its interval, or their range."""
    part = part[part.value.notna()]
    if not len(part):
        return "none measured"
    along = axis.of_rows(part)
    if len(part) == 1:
        row = part.iloc[0]
        return f"{row.value:.2f} ({row.low:.2f} to {row.high:.2f}) at {along.at(row.step)}"
    values, steps = part.value.astype(float), "" if along.on_tokens else "steps "
    ends = f"{steps}{_steps(part)}"
    return f"{values.min():.2f} to {values.max():.2f} at {len(part)} checkpoints, {ends}"


def _counted(spikes: pd.DataFrame, known: pd.DataFrame) -> str:
    if not len(known):
        return f"The loss of none of {len(spikes)} runs explodes."
    onsets = known.onset.astype(int)
    return (
        f"The loss of {len(known)} of {len(spikes)} runs explodes, at steps {onsets.min():,} to "
        f"{onsets.max():,} (median {onsets.median():,.0f}). At the onset, the median loss rises "
        f"from {known.before.astype(float).median():.2f} to "
        f"{known.loss.astype(float).median():.2f} nats."
    )


def _sentences(families: pd.DataFrame) -> Iterator[str]:
    """Yield sentences on whether the ID warns, and on how it compares with other signals."""
    claimed = families[families.family == CLAIMED]
    if not len(claimed):
        return
    row = claimed.iloc[0]
    warns = row.detection_low > row.chance
    head = "**The ID warns.**" if warns else "**It is not shown that the ID warns.**"
    yield (
        f"{head} The ID announces {_share(row)} of {row.n_unstable} explosions; {_lead(row)}. "
        f"Random alarms at the same rate would announce {row.chance:.0%}."
    )
    others = families[(families.family != CLAIMED) & families.behind.notna()]
    more, fewer = others.behind_low > 0, others.behind_high < 0
    for words, chosen in (
        ("The ID announces more explosions than", more),
        ("The ID announces fewer explosions than", fewer),
        ("The ID does not differ measurably from", ~more & ~fewer),
    ):
        if chosen.any():
            yield f"{words} {', '.join(others.family[chosen])}."
    best = families.sort_values(["detection", "lead"], ascending=False, kind="stable").iloc[0]
    if best.family != CLAIMED:
        yield f"The best family is {best.family}: {_share(best)}; {_lead(best)}."


def _growth(approaches: pd.DataFrame) -> Iterator[str]:
    """Yield a sentence on how much the ID has changed by the last sample before an onset."""
    sentences = []
    mine = approaches[(approaches.metric == "id_twonn") & approaches.value.notna()]
    last = mine[(mine.n_runs > 1) & (mine.lead == mine.lead.min())]
    for layer, part in last.groupby("layer"):
        kinds = {row.kind: row for row in part.itertuples()}
        if {"unstable", "stable"} <= set(kinds):
            unstable, stable = _percent(kinds["unstable"]), _percent(kinds["stable"])
            sentences.append(f"layer {int(layer)}: {unstable} (stable runs {stable})")
    if sentences:
        yield (
            "Change of TwoNN's ID from the earlier half of the horizon to the last sample before "
            f"the onset (medians over runs, with 95 % intervals): {'; '.join(sentences)}."
        )


def _swept(spikes: pd.DataFrame, trajectories: pd.DataFrame) -> Iterator[str]:
    """Yield a sentence on how the ID changes between the last two checkpoints before an onset."""
    of_text = {"metric": "id_twonn", "layers": "middle", "selection": "no_first"}
    shown = rows(trajectories, **of_text, corpus=CORPORA)
    counts = {"grown": 0, "fallen": 0, "neither": 0}
    for spike in spikes.itertuples():
        mine = rows(shown, suite=spike.suite, run=spike.run)
        # The loss at the onset was computed with the weights of the previous step.
        mine = mine[mine.step < spike.onset - 1].sort_values("step")
        for _, line in mine.groupby("corpus"):
            if len(line) < 2:
                continue
            first, last = line.iloc[-2], line.iloc[-1]
            # Both checkpoints are measured on the same documents, so their errors tend to cancel.
            room = ((first.high - first.value) ** 2 + (last.high - last.value) ** 2) ** 0.5
            change = last.value - first.value
            beyond = "grown" if change > 0 else "fallen"
            counts[beyond if abs(change) > room else "neither"] += 1
    if sum(counts.values()):
        yield (
            "Between the last two checkpoints before the onset, TwoNN's ID of the middle blocks "
            f"grows beyond its 95 % intervals in {counts['grown']} of {sum(counts.values())} runs, "
            f"and falls in {counts['fallen']}."
        )


def _table(head: str, scored: pd.DataFrame, cells: Callable[[Any], list[str]]) -> Iterator[str]:
    """Yield the lines of a table: `head`, and a row for each detector, beginning with the best."""
    yield f"| {head} |"
    yield "|" + "---|" * len(head.split(" | "))
    order = scored.sort_values(["detection", "lead"], ascending=False, kind="stable")
    for row in order.itertuples():
        yield f"| {' | '.join(cells(row))} |"


def _family_cells(row: Any) -> list[str]:
    more = "" if pd.isna(row.behind) else f"{row.behind:+.0%} ({_ends(row, 'behind', '+.0%')})"
    alarms = [f"{row.false_alarms:.1f}", f"{row.early_alarms:.1f}"]
    return [row.family, _share(row), f"{row.chance:.0%}", _cell(row), *alarms, more]


def _signal_cells(row: Any) -> list[str]:
    position = ["" if pd.isna(n) else str(int(n)) for n in (row.layer, row.k)]
    found = [_share(row), _cell(row), f"{row.false_alarms:.1f}"]
    return [f"`{row.metric}`", *position, row.family, *found]


def _share(row: Any) -> str:
    return f"{row.detection:.0%} ({_ends(row, 'detection', '.0%')})"


def _ends(row: Any, name: str, form: str) -> str:
    low, high = (getattr(row, f"{name}_{end}") for end in ("low", "high"))
    return f"{low:{form}} to {high:{form}}"


def _cell(row: Any) -> str:
    if pd.isna(row.lead):
        return ""
    if not row.resolved:
        return "unresolved"
    return f"{row.lead:.0f} ({_ends(row, 'lead', '.0f')})"


def _lead(row: Any) -> str:
    text = _cell(row)
    if text == "unresolved":
        return f"its lead is unresolved, within the {row.interval} steps between two samples"
    return f"its median lead is {text} steps" if text else "none of them"


def _percent(row: Any) -> str:
    value, low, high = (100 * getattr(row, name) for name in ("value", "low", "high"))
    return f"{value:+.0f} % ({low:+.0f} to {high:+.0f})"
