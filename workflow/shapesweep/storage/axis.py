"""The axis of training: whether the positions of a run's checkpoints are steps or tokens.

If the names of a run's checkpoints contain numbers of tokens and no steps, the column `step` of
every table contains the same numbers as the column `tokens`. All orders, distances and choices by
step are then by tokens. This module recognizes such runs, and writes positions for people.
"""

from collections.abc import Iterable, Set
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

#: The suite and the name of each run of a set.
Runs = Set[tuple[str, str]]
_UNITS = (("T", 1e12), ("B", 1e9), ("M", 1e6), ("k", 1e3))


@dataclass(frozen=True)
class Axis:
    """The axis of the checkpoints of a run.

    Attributes
    ----------
    on_tokens : bool
        Whether the positions are numbers of tokens; otherwise, they are steps.
    unit : float
        1 for steps; for tokens, the smallest positive position.
    """

    on_tokens: bool = False
    unit: float = 1.0

    @property
    def label(self) -> str:
        """The label of the axis in figures."""
        return "training tokens" if self.on_tokens else "training step"

    def number(self, position: float) -> str:
        """Write a position without the name of its unit.

        Examples
        --------
        >>> Axis().number(143000), Axis(on_tokens=True).number(16780000000)
        ('143,000', '16.78 B')
        """
        for letter, size in _UNITS if self.on_tokens else ():
            if position >= size:
                return f"{position / size:.4g} {letter}"
        return f"{int(position):,}"

    def at(self, position: float) -> str:
        """Write a position for a sentence.

        Examples
        --------
        >>> Axis().at(512), Axis(on_tokens=True).at(16780000000)
        ('step 512', '16.78 B tokens')
        """
        written = self.number(position)
        return f"{written} tokens" if self.on_tokens else f"step {written}"

    def log(self, positions: ArrayLike) -> NDArray[np.float64]:
        """Convert positions to a logarithmic scale.

        The scale is log(1 + position / unit). With a unit of one token, a checkpoint at 0 tokens
        would be far from all others.
        """
        return np.log1p(np.asarray(positions, dtype=np.float64) / self.unit)


def of(steps: Iterable[int | None], tokens: Iterable[int | None]) -> Axis:
    """Return the axis of checkpoints, from their steps and tokens in the same order."""
    return _of(*(np.array([*column], dtype=np.float64) for column in (steps, tokens)))


def of_rows(table: pd.DataFrame) -> Axis:
    """Return the axis of the rows of a table, which has the columns `step` and `tokens`."""
    columns = (table[name].to_numpy(np.float64, na_value=np.nan) for name in ("step", "tokens"))
    return _of(*columns)


def runs_on_tokens(table: pd.DataFrame) -> set[tuple[str, str]]:
    """Return the suite and the name of every run whose positions are numbers of tokens."""
    runs = table.groupby(["suite", "run"], sort=False)[["step", "tokens"]]
    return {(str(suite), str(run)) for (suite, run), part in runs if of_rows(part).on_tokens}


def is_of(table: pd.DataFrame, runs: Runs) -> "pd.Series[bool]":
    """Return whether each row of a table belongs to a run of a set."""
    named = pd.Series([*zip(table.suite, table.run, strict=True)], table.index, object)
    return named.isin(runs)


def _of(steps: NDArray[np.float64], tokens: NDArray[np.float64]) -> Axis:
    known = np.isfinite(steps) & np.isfinite(tokens)
    positive = steps[known & (steps > 0)]
    # At the start of training, both numbers are 0, so this row does not tell the axis.
    if len(positive) and np.array_equal(steps[known], tokens[known]):
        return Axis(on_tokens=True, unit=float(positive.min()))
    return Axis()
