"""Collect all profiles of a run in arrays, together with their jackknife replicates."""

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
        One row per profile, with its checkpoint, corpus, pooling, selection, metric and k.
    depths : ndarray of float64, shape (n_layers + 1,)
    values : ndarray of float64, shape (n_profiles, n_layers + 1)
        Values from the embedding to the last hidden state (after the final norm, if the model has
        a final norm); NaN if the table has no value.
    without : ndarray of float64, shape (n_groups, n_profiles, n_layers + 1)
        Jackknife replicates: the values without one group of documents.
    """

    keys: pd.DataFrame
    depths: NDArray[np.float64]
    values: NDArray[np.float64]
    without: NDArray[np.float64]

    @classmethod
    def joined(cls, parts: "Sequence[Stack]") -> "list[Stack]":
        """Join the stacks of parts of a run into one stack per corpus and number of layers."""
        by_corpus: dict[tuple[str, int], list[Stack]] = {}
        for part in parts:
            by_corpus.setdefault((part.keys.corpus.iloc[0], len(part.depths)), []).append(part)
        stacks = []
        for mine in by_corpus.values():
            most = max(len(part.without) for part in mine)
            # If a part has fewer groups of documents than another part, fill the replicates of the
            # missing groups with NaN.
            lacking = [((0, most - len(part.without)), (0, 0), (0, 0)) for part in mine]
            without = [
                np.pad(part.without, width, constant_values=np.nan)
                for part, width in zip(mine, lacking, strict=True)
            ]
            keys = pd.concat([part.keys for part in mine], ignore_index=True)
            values = np.concatenate([part.values for part in mine])
            stacks.append(cls(keys, mine[0].depths, values, np.concatenate(without, axis=1)))
        return stacks

    @cached_property
    def curve_keys(self) -> list[tuple[object, ...]]:
        """For each profile, the values in the columns `intervals.CURVE`, with None for null."""
        table = self.keys[intervals.CURVE].astype(object)
        return [tuple(row) for row in table.where(table.notna(), None).itertuples(index=False)]


def stack(single: pd.DataFrame, replicates: pd.DataFrame) -> list[Stack]:
    """Return a `Stack` of the profiles of each run on each corpus.

    Parameters
    ----------
    single : pandas.DataFrame
        `schemas.GEOMETRY` with the columns of `intervals.with_names`.
    replicates : pandas.DataFrame
        `schemas.REPLICATES`.

    Returns
    -------
    list of Stack
    """
    groups = dict(iter(replicates.groupby(["suite", "run", "corpus"], sort=False)))
    names = [*intervals.RUN, "is_copy", *_KEY, "step", "tokens", "stage"]
    names += ["n_documents", "document_length"]
    stacks = []
    for key, part in single.groupby(["suite", "run", "corpus"], sort=False):
        n_layers = int(part.n_layers.iloc[0])
        keys = part.drop_duplicates(_KEY)[names].reset_index(drop=True)
        known, mine = _index(keys), groups[key]
        values = np.full((len(keys), n_layers + 1), np.nan)
        _enter(values, part, known.get_indexer(_index(part)))
        without = np.full((int(mine.group.max()) + 1, *values.shape), np.nan)
        _enter(without, mine, mine.group.to_numpy(int), known.get_indexer(_index(mine)))
        stacks.append(Stack(keys, np.arange(n_layers + 1) / n_layers, values, without))
    return stacks


def _index(table: pd.DataFrame) -> pd.MultiIndex:
    return pd.MultiIndex.from_frame(table[_KEY].astype(object).fillna(-1))


def _enter(out: NDArray[np.float64], part: pd.DataFrame, *at: NDArray[np.integer]) -> None:
    """Write values into an array of profiles.

    The value after the final norm replaces the value after the last block.
    """
    layers, values = part.layer.to_numpy(int), intervals.as_array(part.value)
    after = (part.layer_kind == "final_norm").to_numpy(bool)
    for chosen in (~after, after):
        out[(*(indices[chosen] for indices in at), layers[chosen])] = values[chosen]
