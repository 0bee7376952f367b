"""The summary of a sweep: the measured checkpoints, the findings, and the paths of the results."""

import textwrap
from pathlib import Path

import numpy as np
import pandas as pd

from shapesweep.curves.tables import Curves, checkpoints, rows
from shapesweep.report import sentences
from shapesweep.storage import axis, failures

#: Metrics of all tokens except the first in the summary's table, each with the name that the table
#: shows.
WAYS = {
    "id_twonn": "all tokens",
    "id_twonn_paper": "the paper's fit",
    "same_document_nn": "same-document nn",
    "same_token_nn": "same-token nn",
}
#: Subsamples in the summary's table.
CONTROLS = {"one_per_document": "one per document", "few_documents": "few documents"}

#: Paths of the results, relative to the folder of the results.
FILES = {
    "report": "report.html",
    "figures": "figures/*.{svg,pdf,png,csv}",
    "tables": "{geometry,replicates,losses,budgets,failures}.parquet",
    "curves": "curves/{profiles,trajectories,phases,shapes}.parquet",
    "logs": "logs/",
}
#: Maximum number of problems in the summary. The table of failures lists all problems.
NAMED = 60
#: Wraps sentences to 100 columns.
WRAPPER = textwrap.TextWrapper(100, "  ", "    ", break_on_hyphens=False)


def write(results: str | Path, out: str | Path) -> str:
    """Write the summary of a sweep.

    Parameters
    ----------
    results : path-like
        Folder of the results.
    out : path-like
        Text file to write.

    Returns
    -------
    str
        The text of the summary.
    """
    results = Path(results)
    curves = Curves.read(results / "curves")
    missing = curves.missing
    lines = [_counted(curves.profiles, missing)]
    on_tokens = axis.runs_on_tokens(curves.profiles)
    for row in missing.head(NAMED).itertuples():
        name = f"{row.suite}/{failures.name(row, on_tokens)}"
        lines.append(f"  {failures.kind(row)}: {name}: {failures.explanation(row)}")
    if len(missing) > NAMED:
        lines.append(f"  and {len(missing) - NAMED} more: {results}/failures.parquet")
    names = ("profiles", "trajectories", "phases", "moves", "verdicts", "shapes")
    for run in sentences.runs(*(getattr(curves, name) for name in names)):
        lines += ["", run.title]
        for sentence in sentences.sentences(run):
            lines += WRAPPER.wrap(sentence)
        if run.profiles.step.nunique() > 1:
            lines += _along(run, _controls(curves, run))
    for sentence in sentences.on_seeds(curves.verdicts, curves.trajectories):
        lines += ["", *WRAPPER.wrap(sentence)]
    lines += [
        "",
        "Where to look",
        *(f"  {kind:8} {results}/{path}" for kind, path in FILES.items()),
    ]
    text = "\n".join(lines) + "\n"
    Path(out).parent.mkdir(parents=True, exist_ok=True)
    Path(out).write_text(text, encoding="utf-8")
    return text


def _counted(profiles: pd.DataFrame, missing: pd.DataFrame) -> str:
    measured = checkpoints(profiles)
    runs = measured[["suite", "run"]].drop_duplicates()
    return (
        f"{len(measured)} checkpoints of {len(runs)} runs measured, "
        f"{int((~missing.measured).sum())} not measured"
    )


def _controls(curves: Curves, run: sentences.Run) -> pd.DataFrame:
    """Return the ID of the subsamples over training."""
    key = {"suite": run.suite, "run": run.run, "corpus": curves.control["corpus"]}
    every = {"metric": "id_twonn", "layers": "middle", "selection": CONTROLS}
    return rows(curves.trajectories, **key, **every)


def _along(run: sentences.Run, controls: pd.DataFrame) -> list[str]:
    """Format the ID of the middle blocks over training as a text table."""
    mine = rows(run.trajectories, metric=WAYS, layers="middle", selection="no_first")
    lines = [(words, mine[mine.metric == metric]) for metric, words in WAYS.items()]
    for selection, words in CONTROLS.items() if len(controls) else ():
        line = controls[controls.selection == selection]
        if len(line):
            lines.append((f"{words}, N = {int(line.n_points.max()):,}", line))
    steps = sorted(mine.step.dropna().unique())
    if not steps:
        return []  # The model has no middle blocks.
    # Show at most a dozen checkpoints of a run.
    shown = [steps[i] for i in sorted(set(np.linspace(0, len(steps) - 1, 12).astype(int)))]
    written = [run.axis.number(step) for step in shown]
    width = max(7, *(len(text) + 1 for text in written))
    where = "" if not len(controls) else f"; subsamples: {controls.corpus.iloc[0]}"
    table = [f"  TwoNN ID of the middle blocks ({run.corpus}, first token left out{where})"]
    head = "tokens" if run.axis.on_tokens else "step"
    table.append(f"    {head:27}" + "".join(f"{text:>{width}}" for text in written))
    for words, line in lines:
        by_step = line.drop_duplicates("step").set_index("step").value
        cells = "".join(f"{by_step.get(step, np.nan):{width}.2f}" for step in shown)
        table.append(f"    {words:27}{cells}")
    return table
