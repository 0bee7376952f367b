"""Stacks: the profiles of a run as arrays over depth, with their replicates."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from shapesweep.curves import intervals

_KEY = ["revision", *intervals.CURVE]


@dataclass(frozen=True, eq=False)
class Stack:
    """All profiles of a run on a corpus, as arrays.

    Attributes
    ----------
    keys : pandas.DataFrame
        A row per profile: its checkpoint and its curve.
    depths : ndarray of float64, shape (n_layers + 1,)
    values : ndarray of float64, shape (n_profiles, n_layers + 1)
        From the embedding to the last hidden state (after a final norm, if there is one). NaN if
        there is no number.
    without : ndarray of float64, shape (n_groups, n_profiles, n_layers + 1)
        Values without each group of documents.
    """

    keys: pd.DataFrame
    depths: NDArray[np.float64]
    values: NDArray[np.float64]
    without: NDArray[np.float64]

    @classmethod
    def joined(cls, parts: "Sequence[Stack]") -> "list[Stack]":
        """Join the stacks of parts of a run, by corpus.

        Checkpoints with another number of layers get a separate stack.
        """
        by_corpus: dict[tuple[str, int], list[Stack]] = {}
        for part in parts:
            by_corpus.setdefault((part.keys.corpus.iloc[0], len(part.depths)), []).append(part)
        stacks = []
        for mine in by_corpus.values():
            most = max(len(checkpoint.without) for checkpoint in mine)
            without = [_padded(checkpoint.without, most) for checkpoint in mine]
            stacks.append(
                cls(
                    pd.concat([checkpoint.keys for checkpoint in mine], ignore_index=True),
                    mine[0].depths,
                    np.concatenate([checkpoint.values for checkpoint in mine]),
                    np.concatenate(without, axis=1),
                )
            )
        return stacks

    @cached_property
    def curve_keys(self) -> list[tuple[object, ...]]:
        """The curve of every profile, as a tuple with None for null."""
        table = self.keys[intervals.CURVE].astype(object)
        return [tuple(row) for row in table.where(table.notna(), None).itertuples(index=False)]


def _padded(without: NDArray[np.float64], n_groups: int) -> NDArray[np.float64]:
    """Replicates with NaN for missing groups."""
    lacking = n_groups - len(without)
    return np.pad(without, ((0, lacking), (0, 0), (0, 0)), constant_values=np.nan)


def stack(single: pd.DataFrame, replicates: pd.DataFrame) -> list[Stack]:
    """Stack the profiles of every run and corpus.

    Parameters
    ----------
    single : pandas.DataFrame
        `schemas.GEOMETRY` with names.
    replicates : pandas.DataFrame
        `schemas.REPLICATES`.

    Returns
    -------
    list of Stack
    """
    parts = replicates.groupby(["suite", "run", "corpus"], sort=False)
    groups = dict(iter(parts))
    stacks = []
    for key, part in single.groupby(["suite", "run", "corpus"], sort=False):
        n_layers = int(part.n_layers.iloc[0])
        codes, keys = _numbered(part)
        values = np.full((len(keys), n_layers + 1), np.nan)
        _enter(values, part, codes, n_layers)
        mine = groups[key]
        n_groups = int(mine.group.max()) + 1
        without = np.full((n_groups, *values.shape), np.nan)
        known = pd.MultiIndex.from_frame(keys[_KEY].astype(object).fillna(-1))
        requested = pd.MultiIndex.from_frame(mine[_KEY].astype(object).fillna(-1))
        rows = known.get_indexer(requested)
        for group in range(n_groups):
            of_group = (mine.group == group).to_numpy(bool)
            _enter(without[group], mine[of_group], rows[of_group], n_layers)
        depths = np.arange(n_layers + 1) / n_layers
        stacks.append(Stack(keys, depths, values, without))
    return stacks


def _numbered(part: pd.DataFrame) -> tuple[NDArray[np.int64], pd.DataFrame]:
    """The number of the profile of every row, and the keys of every profile."""
    names = [*intervals.RUN, *_KEY, "step", "tokens", "n_documents"]
    codes = part.groupby(_KEY, sort=False, dropna=False).ngroup().to_numpy()
    kept = ~part.duplicated(_KEY)
    keys = part.loc[kept, [*names, "document_length"]].reset_index(drop=True)
    return codes, keys


def _enter(
    out: NDArray[np.float64], part: pd.DataFrame, rows: NDArray[np.int64], n_layers: int
) -> None:
    """Enter values into their profiles; the final norm replaces the last block."""
    layers, values = part.layer.to_numpy(int), intervals.as_array(part.value)
    after = (part.layer_kind == "final_norm").to_numpy(bool)
    for chosen in (~after, after):
        out[rows[chosen], layers[chosen]] = values[chosen]
