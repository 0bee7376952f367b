"""Breaks: where a run's weights are no continuation of those before them."""

import pandas as pd


def segments(curves: pd.DataFrame, continuity: pd.DataFrame) -> "pd.Series[int]":
    """Which part of its run every row belongs to: so many breaks lie before it.

    Parameters
    ----------
    curves : pandas.DataFrame
        With suite, run and step.
    continuity : pandas.DataFrame
        `contracts.CONTINUITY`.

    Returns
    -------
    pandas.Series of int
        Of the rows' index.
    """
    made = pd.Series(0, index=curves.index)
    breaks = continuity[(continuity.flag == "break") & continuity.step.notna()]
    for one in breaks.drop_duplicates(["suite", "run", "revision"]).itertuples():
        behind = (curves.suite == one.suite) & (curves.run == one.run) & (curves.step >= one.step)
        made += behind.fillna(False).astype(int)
    return made
