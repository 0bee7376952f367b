"""The closing words of a sweep: what was measured and skipped, what it shows, where it lies."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from shapesweep import failures, tables
from shapesweep.figures import FIGURES
from shapesweep.shards import SENSITIVITY

#: The ways to ask for the ID, and their names in a table of words.
WAYS = {
    "id_twonn": "all neighbours",
    "id_twonn_paper": "the paper's fit",
    "id_twonn_between": "between docs",
}

#: Checkpoints that are named with what speaks against them; of more, the table tells.
NAMED = 60

#: A rise of the anisotropy that deserves the name of a dome: a tenth of the variance. The paper's
#: decoders rise by 0.8 and more, its encoders by none.
DOME_RISE = 0.1


def write(results: str | Path, out: str | Path) -> str:
    """Write the summary of a sweep.

    Parameters
    ----------
    results : path-like
    out : path-like
        A text file.

    Returns
    -------
    str
        What was written.
    """
    results = Path(results)
    profiles = tables.read(results / "curves/profiles.parquet", tables.PROFILES)
    trajectories = tables.read(results / "curves/trajectories.parquet", tables.TRAJECTORIES)
    phases = tables.read(results / "curves/phases.parquet", tables.PHASES)
    missing = tables.read(results / "curves/missing.parquet", tables.FAILURES)
    lines = [_counted(profiles, missing)]
    for row in missing.head(NAMED).itertuples():
        what = "doubtful" if row.measured else "not measured"
        lines.append(f"  {what}: {row.suite}/{failures.name(row)}: {row.reason}")
    if len(missing) > NAMED:
        lines.append(f"  and {len(missing) - NAMED} more: {results}/failures.parquet")
    for key, part in profiles.groupby(["suite", "run"], sort=False):
        mine = (trajectories.suite == key[0]) & (trajectories.run == key[1])
        phase = phases[(phases.suite == key[0]) & (phases.run == key[1])]
        lines += ["", *_run(part, trajectories[mine], phase)]
    lines += ["", "Where to look"]
    lines += [f"  figures  {results}/figures/{{{','.join(FIGURES)}}}.{{svg,pdf,png}}"]
    lines += [f"  tables   {results}/{{geometry,replicates,losses,failures}}.parquet"]
    lines += [f"  curves   {results}/curves/{{profiles,trajectories,phases}}.parquet"]
    lines += [f"  logs     {results}/logs/"]
    text = "\n".join(lines) + "\n"
    Path(out).parent.mkdir(parents=True, exist_ok=True)
    Path(out).write_text(text, encoding="utf-8")
    return text


def dome(line: pd.DataFrame) -> dict[str, Any] | None:
    """Whether a profile rises inside above both of its ends.

    Parameters
    ----------
    line : pandas.DataFrame
        `tables.PROFILES` of one checkpoint, corpus, selection and metric.

    Returns
    -------
    dict or None
        first, top and last (rows), `rise` (top above the higher end) and `is_dome`: the rise is at
        least `DOME_RISE`, and the interval of the top lies above the intervals of the embedding
        and of the last hidden state. None without an inner block.
    """
    line = line.sort_values(["layer", "layer_kind"])
    inner = line[(line.layer > 0) & (line.layer < line.n_layers)]
    if not len(inner) or line.value.isna().any():
        return None
    first, last = line.iloc[0], line.iloc[-1]
    top = inner.loc[inner.value.astype(float).idxmax()]
    rise = float(top.value - max(first.value, last.value))
    is_dome = rise >= DOME_RISE and bool(top.low > max(first.high, last.high))
    return {"first": first, "top": top, "last": last, "rise": rise, "is_dome": is_dome}


def _counted(profiles: pd.DataFrame, missing: pd.DataFrame) -> str:
    checkpoints = profiles[["suite", "run", "revision"]].drop_duplicates()
    runs = checkpoints[["suite", "run"]].drop_duplicates()
    return (
        f"{len(checkpoints)} checkpoints of {len(runs)} runs measured, "
        f"{int((~missing.measured).sum())} not measured"
    )


def _run(profiles: pd.DataFrame, trajectories: pd.DataFrame, phases: pd.DataFrame) -> list[str]:
    one = profiles.iloc[0]
    title = f"{one.suite}/{one.run}: {one.architecture} ({one.family}), {one.n_layers} blocks"
    corpus = "text" if "text" in set(profiles.corpus) else one.corpus
    at = profiles[(profiles.corpus == corpus) & (profiles.metric == "anisotropy")]
    at = at[~at.selection.isin(SENSITIVITY)]
    lines = [title, *_anisotropy(at, corpus)]
    mine = trajectories[(trajectories.corpus == corpus) & (trajectories.layers == "middle")]
    mine = mine[(mine.selection == "no_first") & mine.step.notna()]
    if mine.step.nunique() > 1:
        lines += _along(mine, phases, corpus)
    return lines


def _anisotropy(at: pd.DataFrame, corpus: str) -> list[str]:
    lines = [f"  anisotropy over depth ({corpus})"]
    by_checkpoint: dict[str, dict[str, dict[str, Any]]] = {}
    for (revision, selection), line in at.groupby(["revision", "selection"], sort=False):
        shape = dome(line)
        if shape is not None:
            by_checkpoint.setdefault(revision, {})[selection] = shape
    if not by_checkpoint:
        return [*lines, "    not defined"]
    steps = at.groupby("revision").step.max()
    last = max(by_checkpoint, key=lambda r: -1 if pd.isna(steps[r]) else steps[r])
    highest = max(by_checkpoint, key=lambda r: max(s["rise"] for s in by_checkpoint[r].values()))
    for revision in dict.fromkeys([highest, last]):
        for selection, shape in by_checkpoint[revision].items():
            verdict = "a dome" if shape["is_dome"] else "no dome"
            lines.append(
                f"    {revision:15} {selection:10} embedding {shape['first'].value:.2f}, "
                f"highest {shape['top'].value:.2f} at layer {shape['top'].layer}, "
                f"last {shape['last'].value:.2f}: {verdict}"
            )
    return lines + _sinks(at[at.revision == last])


def _sinks(at: pd.DataFrame) -> list[str]:
    """Layers whose anisotropy is mostly their documents' first token."""
    every, without = at[at.selection == "all"], at[at.selection == "no_first"]
    pairs = every.merge(without, on=["layer", "layer_kind"], suffixes=("", "_without"))
    pairs = pairs[(pairs.layer_kind == "block") & (pairs.value_without < pairs.value / 2)]
    return [
        f"    layer {pair.layer} is sink-dominated: {pair.value:.2f} with all tokens, "
        f"{pair.value_without:.2f} without the first"
        for pair in pairs.itertuples()
    ]


def _along(mine: pd.DataFrame, phases: pd.DataFrame, corpus: str) -> list[str]:
    steps = sorted(mine.step.unique())
    # A long run is told by a dozen of its checkpoints; the tables have all of them.
    shown = [steps[i] for i in sorted(set(np.linspace(0, len(steps) - 1, 12).astype(int)))]
    lines = [f"  TwoNN ID of the middle blocks along training ({corpus}, first token left out)"]
    lines.append(f"    {'step':16}" + "".join(f"{step:>7}" for step in shown))
    for metric, words in [*WAYS.items(), ("same_document_nn", "same-document nn")]:
        line = mine[mine.metric == metric].drop_duplicates("step").set_index("step")
        cells = "".join(f"{line.value.get(step, np.nan):7.2f}" for step in shown)
        lines.append(f"    {words:16}{cells}")
    for metric, words in WAYS.items():
        chosen = phases[(phases.metric == metric) & (phases.selection == "no_first")]
        for phase in chosen[chosen.corpus == corpus].itertuples():
            lines.append(f"    {words:16} {_verdict(phase)}")
    return lines


def _verdict(phase: Any) -> str:
    if phase.verdict == "peak":
        return (
            f"peak {phase.peak:.2f} at step {phase.peak_step}, "
            f"{phase.prominence:.2f} ± {phase.half_width:.2f} above both ends"
        )
    ends = f"{phase.first:.2f} at step {phase.first_step}, {phase.last:.2f} at {phase.last_step}"
    return f"{phase.verdict} ({ends})"
