"""Distances: how far is a profile from the last of its run, and from the mean of its family?"""

from collections.abc import Iterator

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from shapesweep.curves import intervals
from shapesweep.curves.profile_stack import Stack
from shapesweep.estimators import jackknife
from shapesweep.storage import schemas

#: Profiles of the last checkpoint of a run: values and replicates by curve.
Finals = dict[tuple[object, ...], tuple[NDArray[np.float64], NDArray[np.float64]]]


def distances(stacks: list[Stack]) -> pd.DataFrame:
    """The distance of every profile to others: `schemas.DISTANCES`.

    Root mean square differences over depth, with linear interpolation between layers. `to` is
    `final`, the last checkpoint of the run, or `family`, the mean over the last checkpoints of all
    other models of the family on the same corpus, from all suites; runs that differ by their seed
    are the same model. If all decoders converge to the same profile, these distances fall to those
    between seeds.

    Parameters
    ----------
    stacks : list of Stack

    Returns
    -------
    pandas.DataFrame
        With a 95 % interval over documents, cut off at zero; `n_runs` is the number of profiles in
        the mean.
    """
    finals = [_finals(stack) for stack in stacks]
    rows = []
    for profile, final in zip(stacks, finals, strict=True):
        rows += list(_to_final(profile, final))
        others = [
            (other, theirs)
            for other, theirs in zip(stacks, finals, strict=True)
            if _is_kin(profile, other)
        ]
        if others:
            rows += list(_to_family(profile, others))
    return pd.concat(rows) if rows else pd.DataFrame(columns=schemas.DISTANCES.names)


def _is_kin(stack: Stack, other: Stack) -> bool:
    mine, its = stack.keys.iloc[0], other.keys.iloc[0]
    kin = mine.family == its.family and mine.corpus == its.corpus
    return kin and (mine.suite, mine.model) != (its.suite, its.model)


def _finals(stack: Stack) -> Finals:
    steps = intervals.as_array(stack.keys.step)
    last = steps == np.nanmax(steps) if np.isfinite(steps).any() else np.isnan(steps)
    keys = stack.curve_keys
    return {keys[i]: (stack.values[i], stack.without[:, i]) for i in np.flatnonzero(last)}


def _to_final(stack: Stack, final: Finals) -> Iterator[pd.DataFrame]:
    keys = stack.curve_keys
    rows = [i for i, key in enumerate(keys) if key in final]
    if rows:
        values = np.stack([final[keys[i]][0] for i in rows])
        without = np.stack([final[keys[i]][1] for i in rows], axis=1)
        yield _table(stack, rows, values, without, "final", [1] * len(rows))


def _to_family(stack: Stack, others: list[tuple[Stack, Finals]]) -> Iterator[pd.DataFrame]:
    """Distances to the mean over models; seeds of a model are averaged before."""
    known: dict[tuple[object, ...], tuple[NDArray[np.float64], NDArray[np.float64], int]] = {}
    rows, values, without, counts = [], [], [], []
    for i, key in enumerate(stack.curve_keys):
        if key not in known:
            known[key] = _mean(
                stack, [(other, final[key]) for other, final in others if key in final]
            )
        value, parts, count = known[key]
        if count:
            rows.append(i)
            values.append(value)
            without.append(parts)
            counts.append(count)
    if rows:
        yield _table(stack, rows, np.stack(values), np.stack(without, axis=1), "family", counts)


def _mean(
    stack: Stack, theirs: list[tuple[Stack, tuple[NDArray[np.float64], NDArray[np.float64]]]]
) -> tuple[NDArray[np.float64], NDArray[np.float64], int]:
    """The mean profile of other runs at the depths of this one, with replicates and counts."""
    by_model: dict[tuple[str, str], list[NDArray[np.float64]]] = {}
    n_groups = len(stack.without)
    theirs = [(o, (value, parts)) for o, (value, parts) in theirs if np.isfinite(value).all()]
    for other, (value, parts) in theirs:
        # If the other profiles have other groups of documents, they are treated as fixed.
        paired = parts if len(parts) == n_groups else np.tile(value, (n_groups, 1))
        both = np.concatenate([value[None], paired])
        placed = np.stack([np.interp(stack.depths, other.depths, line) for line in both])
        first = other.keys.iloc[0]
        by_model.setdefault((first.suite, first.model), []).append(placed)
    if not by_model:
        return np.empty(0), np.empty(0), 0
    mean = np.mean([np.mean(seeds, axis=0) for seeds in by_model.values()], axis=0)
    return mean[0], mean[1:], len(theirs)


def _table(
    stack: Stack,
    rows: list[int],
    values: NDArray[np.float64],
    without: NDArray[np.float64],
    to: str,
    counts: list[int],
) -> pd.DataFrame:
    value = _distance(stack.values[rows], values)
    half = jackknife.half_width_of(_distance(stack.without[:, rows], without))
    table = stack.keys.iloc[rows].assign(
        to=to, n_runs=counts, value=value, low=np.maximum(value - half, 0), high=value + half
    )
    return table.filter(schemas.DISTANCES.names)


def _distance(a: NDArray[np.float64], b: NDArray[np.float64]) -> NDArray[np.float64]:
    """Root mean square over depth."""
    return np.sqrt(((a - b) ** 2).mean(axis=-1))
