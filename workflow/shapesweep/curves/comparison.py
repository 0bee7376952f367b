"""Comparison of our numbers with the authors' numbers.

The authors of the paper (Razzhigaev et al. 2024) published their numbers in the stored outputs of
the notebooks in the repository AIRI-Institute/LLM-Microscope. `paper_numbers.csv` lists these
numbers. The column `layer` is an index into `hidden_states`.
"""

from importlib import resources

import numpy as np
import pandas as pd

from shapesweep.curves.tables import rows
from shapesweep.storage import schemas

#: Absolute and relative tolerances. They were chosen before we had seen any of our numbers. The
#: anisotropy is read from the authors' figure with an error of at most 0.005, and differs by 0.005
#: between two draws of 128 chunks. The ID is read from the figure with an error of at most 0.15.
#: Between two draws of tokens, the ID changes by 5.8 % in the median, and most changes are below
#: 11.6 %.
TOLERANCE = {"anisotropy": (0.005 + 0.005, 0.0), "id_twonn_paper": (0.15, 2 * 0.058)}
#: Two samplings count as equal if their numbers of tokens differ by at most this share.
SAME_TOKENS = 0.02


def authors() -> pd.DataFrame:
    """Read the authors' numbers, with columns run, n_tokens, metric, layer and value."""
    path = resources.files("shapesweep.curves") / "paper_numbers.csv"
    return pd.read_csv(path.open(encoding="utf-8"))


def comparison(profiles: pd.DataFrame) -> pd.DataFrame:
    """Compute the table `schemas.COMPARISON`: the authors' numbers and our numbers.

    Parameters
    ----------
    profiles : pandas.DataFrame
        `schemas.PROFILES`. A run is compared only if it has the name of one of the authors' models.
        The last checkpoint of the run is compared, with all tokens of the corpus `text`.

    Returns
    -------
    pandas.DataFrame
        `verdict` is `agrees` if the difference is within the tolerance, otherwise `differs`. The
        verdict is `not run` if the model was not measured, and `other sampling` if the numbers of
        tokens differ by more than `SAME_TOKENS`.
    """
    ours = rows(profiles, corpus="text", selection="all", layer_kind="block")
    ours = ours.sort_values("step", kind="stable", na_position="first")
    ours = ours.drop_duplicates(["run", "metric", "layer"], keep="last")
    ours = ours.rename(columns={"value": "ours", "low": "ours_low", "high": "ours_high"})
    columns = ["run", "text_sha256", "metric", "layer", "ours", "ours_low", "ours_high", "n_points"]
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
    """Return the number of rows for each verdict, as text."""
    counts = comparison.verdict.value_counts()
    named = ("agrees", "differs", "other sampling", "not run")
    return ", ".join(f"{counts.get(name, 0)} {name}" for name in named)
