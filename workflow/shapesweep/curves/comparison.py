"""The comparison: the authors' own numbers beside ours, where their models were measured.

Theirs are read from the outputs that are stored in the notebooks of AIRI-Institute/LLM-Microscope;
`authors.csv` has them, by the index of `hidden_states`.
"""

from importlib import resources

import numpy as np
import pandas as pd

from shapesweep.storage import schemas

#: What two numbers may differ by, set before any of ours was seen: so much, and a share of theirs.
#: Of the anisotropy, theirs are read off a figure to 0.005, and two draws of 128 chunks differ by
#: as much. Of the ID, read off to 0.15, and two draws of tokens differ by 5.8 % in the median,
#: twice which most stay within.
TOLERANCE = {"anisotropy": (0.005 + 0.005, 0.0), "id_twonn_paper": (0.15, 2 * 0.058)}
#: Their tokens and ours of the same chunks; of another text or sampling there are other numbers.
SAME_TOKENS = 0.02


def authors() -> pd.DataFrame:
    """The authors' numbers: run, n_tokens, metric, layer, value."""
    path = resources.files("shapesweep") / "authors.csv"
    return pd.read_csv(path.open(encoding="utf-8"))


def comparison(profiles: pd.DataFrame) -> pd.DataFrame:
    """The authors' numbers beside ours: `schemas.COMPARISON`.

    Parameters
    ----------
    profiles : pandas.DataFrame
        `schemas.PROFILES`: of the text with all tokens, as the authors measured, those of a run
        with the model's name and without steps, or of its last step.

    Returns
    -------
    pandas.DataFrame
        `verdict` is `agrees` or `differs`, by the tolerance, `not run`, or `other sampling`
        where the model was shown another number of tokens than theirs.
    """
    asked = {"over": "documents", "corpus": "text", "selection": "all", "layer_kind": "block"}
    ours = profiles
    for name, value in asked.items():
        ours = ours[ours[name] == value]
    ours = ours.sort_values("step", kind="stable", na_position="first")
    ours = ours.drop_duplicates(["run", "metric", "layer"], keep="last")
    ours = ours.rename(columns={"value": "ours", "low": "ours_low", "high": "ours_high"})
    columns = ["run", "metric", "layer", "ours", "ours_low", "ours_high", "n_points"]
    theirs = authors().rename(columns={"value": "theirs"})
    fixed, share = (theirs.metric.map({m: t[i] for m, t in TOLERANCE.items()}) for i in (0, 1))
    theirs["tolerance"] = fixed + share * theirs.theirs
    both = theirs.merge(ours[columns], on=["run", "metric", "layer"], how="left")
    shown = ours[ours.metric == "anisotropy"].groupby("run").n_points.max()
    tokens = both.run.map(shown).to_numpy(dtype=float, na_value=np.nan)
    is_same = np.abs(tokens / both.n_tokens - 1) <= SAME_TOKENS
    off = (both.ours - both.theirs).abs().to_numpy(dtype=float, na_value=np.nan)
    both["verdict"] = np.select(
        [np.isnan(off), ~is_same, off <= both.tolerance],
        ["not run", "other sampling", "agrees"],
        "differs",
    )
    return both[schemas.COMPARISON.names]


def counted(comparison: pd.DataFrame) -> str:
    """How many numbers have which verdict."""
    counts = comparison.verdict.value_counts()
    named = ("agrees", "differs", "other sampling", "not run")
    return ", ".join(f"{counts.get(name, 0)} {name}" for name in named)
