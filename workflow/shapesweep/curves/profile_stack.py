"""Stacks: many profiles as one array over depth, each with its replicates.

Takes in the joined tables; hands on what shapes and distances are read from.
"""

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
    """All profiles of a run on a corpus.

    Attributes
    ----------
    keys : pandas.DataFrame
        A row a profile: which checkpoint and which number it is.
    depths : ndarray of float64, shape (n_layers + 1,)
    values : ndarray of float64, shape (n_profiles, n_layers + 1)
        From the embedding to the last hidden state, which a final norm may have made of the last
        block's output, as `hidden_states` has them. NaN where there is no number.
    without : ndarray of float64, shape (n_groups, n_profiles, n_layers + 1)
        The same without each group of documents.
    """

    keys: pd.DataFrame
    depths: NDArray[np.float64]
    values: NDArray[np.float64]
    without: NDArray[np.float64]

    @classmethod
    def joined(cls, parts: "Sequence[Stack]") -> "list[Stack]":
        """Those of a run, a corpus each, of the stacks of some checkpoints each.

        Checkpoints of another number of layers are another run's, and have a stack of their own.
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
        """Of every profile, which number it is of, whatever the checkpoint; None for null."""
        table = self.keys[intervals.CURVE].astype(object)
        return [tuple(row) for row in table.where(table.notna(), None).itertuples(index=False)]


def _padded(without: NDArray[np.float64], n_groups: int) -> NDArray[np.float64]:
    """With NaN for the groups that there are not."""
    lacking = n_groups - len(without)
    return np.pad(without, ((0, lacking), (0, 0), (0, 0)), constant_values=np.nan)


def stack(single: pd.DataFrame, replicates: pd.DataFrame) -> list[Stack]:
    """Stack the profiles of every run and corpus, of whole checkpoints.

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
        _place(values, part, codes, n_layers)
        mine = groups[key]
        n_groups = int(mine.group.max()) + 1
        without = np.full((n_groups, *values.shape), np.nan)
        known = pd.MultiIndex.from_frame(keys[_KEY].astype(object).fillna(-1))
        asked = pd.MultiIndex.from_frame(mine[_KEY].astype(object).fillna(-1))
        rows = known.get_indexer(asked)
        for group in range(n_groups):
            of_group = (mine.group == group).to_numpy(bool)
            _place(without[group], mine[of_group], rows[of_group], n_layers)
        depths = np.arange(n_layers + 1) / n_layers
        stacks.append(Stack(keys, depths, values, without))
    return stacks


def _numbered(part: pd.DataFrame) -> tuple[NDArray[np.int64], pd.DataFrame]:
    """The profile of every row, and of every profile its keys."""
    names = [*intervals.RUN, *_KEY, "step", "tokens", "n_documents"]
    codes = part.groupby(_KEY, sort=False, dropna=False).ngroup().to_numpy()
    kept = ~part.duplicated(_KEY)
    keys = part.loc[kept, [*names, "document_length"]].reset_index(drop=True)
    return codes, keys


def _place(
    out: NDArray[np.float64], part: pd.DataFrame, rows: NDArray[np.int64], n_layers: int
) -> None:
    """Put values into their profiles; a final norm's number stands above its block's."""
    layers, values = part.layer.to_numpy(int), intervals.as_array(part.value)
    after = (part.layer_kind == "final_norm").to_numpy(bool)
    for chosen in (~after, after):
        out[rows[chosen], layers[chosen]] = values[chosen]
