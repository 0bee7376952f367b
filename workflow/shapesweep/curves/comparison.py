"""Comparison of our numbers with those of the authors.

The authors' numbers are from the stored outputs of the notebooks in AIRI-Institute/LLM-Microscope;
`paper_numbers.csv` has them by the index of `hidden_states`.
"""

from importlib import resources

import numpy as np
import pandas as pd

from shapesweep.curves.tables import rows
from shapesweep.storage import schemas

#: Tolerances, absolute and relative, set before any of our numbers was seen. The anisotropy is read
#: off a figure to 0.005, and two draws of 128 chunks differ by as much. The ID is read off to 0.15,
#: and two draws of tokens differ by 5.8 % in the median; most stay within twice that.
TOLERANCE = {"anisotropy": (0.005 + 0.005, 0.0), "id_twonn_paper": (0.15, 2 * 0.058)}
#: The largest relative difference in the number of tokens for the same sampling.
SAME_TOKENS = 0.02


def authors() -> pd.DataFrame:
    """The authors' numbers, with columns run, n_tokens, metric, layer and value."""
    path = resources.files("shapesweep.curves") / "paper_numbers.csv"
    return pd.read_csv(path.open(encoding="utf-8"))


def comparison(profiles: pd.DataFrame) -> pd.DataFrame:
    """Compare the authors' numbers with ours: `schemas.COMPARISON`.

    Parameters
    ----------
    profiles : pandas.DataFrame
        `schemas.PROFILES`. Used are the profiles of all tokens of the text, of runs with the name
        of a model, at the last step or without steps.

    Returns
    -------
    pandas.DataFrame
        `verdict` is `agrees` or `differs` by the tolerance, `not run`, or `other sampling` if the
        number of tokens differs.
    """
    ours = rows(profiles, corpus="text", selection="all", layer_kind="block")
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
    """Number of rows by verdict, as text."""
    counts = comparison.verdict.value_counts()
    named = ("agrees", "differs", "other sampling", "not run")
    return ", ".join(f"{counts.get(name, 0)} {name}" for name in named)
