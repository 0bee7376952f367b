"""Distances of profiles to the last profile of their run, and to the mean of their family."""

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from shapesweep.curves import intervals
from shapesweep.curves.profile_stack import Stack
from shapesweep.estimators import jackknife
from shapesweep.storage import schemas

#: For each curve, the reference profile: values, replicates, and the number of averaged runs.
References = dict[tuple[object, ...], tuple[NDArray[np.float64], NDArray[np.float64], int]]


def distances(stacks: list[Stack]) -> pd.DataFrame:
    """Compute the table `schemas.DISTANCES`: the distances of profiles to reference profiles.

    A distance is the root mean square difference over depth; profiles are interpolated linearly
    between layers. The column `to` names the reference. `final` is the profile of the last
    checkpoint of the run. `family` is the mean profile of the last checkpoints of all other models
    of the family, on the same corpus and from all suites. Runs that differ only by their seed count
    as a single model, and copies do not count. If all decoders converge to the same profile, the
    distances to `family` become as small as the distances between seeds.

    Parameters
    ----------
    stacks : list of Stack

    Returns
    -------
    pandas.DataFrame
        Distances with 95 % intervals over documents. Negative lower ends of intervals are set to
        zero. `n_runs` is the number of profiles that were averaged for the reference.
    """
    finals = [_finals(stack) for stack in stacks]
    tables = []
    for profile, final in zip(stacks, finals, strict=True):
        pairs = zip(stacks, finals, strict=True)
        kin = [(other, theirs) for other, theirs in pairs if _is_kin(profile, other)]
        tables += [_to("final", profile, final), _to("family", profile, _means(profile, kin))]
    tables = [table for table in tables if len(table)]
    return pd.concat(tables) if tables else pd.DataFrame(columns=schemas.DISTANCES.names)


def _is_kin(stack: Stack, other: Stack) -> bool:
    mine, its = stack.keys.iloc[0], other.keys.iloc[0]
    kin = mine.family == its.family and mine.corpus == its.corpus and not its.is_copy
    return kin and (mine.suite, mine.model) != (its.suite, its.model)


def _finals(stack: Stack) -> References:
    """Return the profile of the last checkpoint for each curve."""
    steps = intervals.as_array(stack.keys.step)
    last = steps == np.nanmax(steps) if np.isfinite(steps).any() else np.isnan(steps)
    keys = stack.curve_keys
    return {keys[i]: (stack.values[i], stack.without[:, i], 1) for i in np.flatnonzero(last)}


def _means(stack: Stack, others: list[tuple[Stack, References]]) -> References:
    """Average other runs' profiles at the depths of `stack`: first over seeds, then over models."""
    means: References = {}
    n_groups = len(stack.without)
    for key in dict.fromkeys(stack.curve_keys):
        theirs = [(other, *finals[key][:2]) for other, finals in others if key in finals]
        by_model: dict[tuple[str, str], list[NDArray[np.float64]]] = {}
        for other, value, parts in theirs:
            if not np.isfinite(value).all():
                continue
            # If the numbers of jackknife groups differ, replicates cannot be paired, so the values
            # of the other profile are treated as exact.
            paired = parts if len(parts) == n_groups else np.tile(value, (n_groups, 1))
            both = np.concatenate([value[None], paired])
            placed = np.stack([np.interp(stack.depths, other.depths, line) for line in both])
            first = other.keys.iloc[0]
            by_model.setdefault((first.suite, first.model), []).append(placed)
        if by_model:
            mean = np.mean([np.mean(seeds, axis=0) for seeds in by_model.values()], axis=0)
            means[key] = mean[0], mean[1:], sum(map(len, by_model.values()))
    return means


def _to(to: str, stack: Stack, references: References) -> pd.DataFrame:
    """Compute the distances of all profiles that have a reference."""
    known = [(i, references[key]) for i, key in enumerate(stack.curve_keys) if key in references]
    if not known:
        return pd.DataFrame()
    rows = [i for i, _ in known]
    values, without, counts = zip(*(reference for _, reference in known), strict=True)
    value = _distance(stack.values[rows], np.stack(values))
    parts = _distance(stack.without[:, rows], np.stack(without, axis=1))
    # A distance that rests on one group of documents has no interval.
    half = np.where(jackknife.dominant(parts) >= 0, np.nan, jackknife.half_width_of(parts))
    table = stack.keys.iloc[rows].assign(
        to=to, n_runs=counts, value=value, low=np.maximum(value - half, 0), high=value + half
    )
    return table.filter(schemas.DISTANCES.names)


def _distance(a: NDArray[np.float64], b: NDArray[np.float64]) -> NDArray[np.float64]:
    """Root mean square difference over depth."""
    return np.sqrt(((a - b) ** 2).mean(axis=-1))
