"""Describe how metrics change during training, and test the claim of two phases of the ID.

Every curve is described as its succession of rises and falls that exceed the noise. All checkpoints
are measured on the same documents. If only the noise from the choice of documents were considered,
every small fluctuation would count. Training adds further noise, which differs between repeated
training runs.

The claim is tested on two curves, which the configuration names: the paper's curve and its control.
All other curves are descriptions.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from shapesweep.corpora import CorpusLabel
from shapesweep.curves import intervals
from shapesweep.estimators import course
from shapesweep.storage import axis, schemas

#: Maximum number of checkpoints that are used, evenly spaced in `Axis.log`. If checkpoints are
#: too close together, they share noise.
MOST = 24
#: Minimum number of checkpoints if the noise is estimated from a single curve.
LEAST = 5
#: Minimum number of checkpoints after step 0 that all seeds must have in common. If they have fewer
#: checkpoints in common, the noise of training is not estimated from seeds.
SHARED = 3
#: Values of `verdict` of a curve: whether it contains a rise that is followed by a fall.
SHOWN, NOT_SHOWN = "rise and fall", "no rise and fall"
#: Values of `verdict` of a run, by the verdicts of the paper's curve and of the control.
VERDICTS = {
    (True, True): "both",
    (True, False): "paper only",
    (False, True): "control only",
    (False, False): "neither",
}

#: For `paper` and `control`, the values of `corpus`, `selection` and `metric` of the tested curve.
Tested = Mapping[str, Mapping[str, str]]


def phases(middle: pd.DataFrame, tested: Tested) -> dict[str, pd.DataFrame]:
    """Compute the tables `schemas.PHASES`, `schemas.MOVES` and `schemas.VERDICTS`.

    A rise or a fall counts if it exceeds two kinds of noise (`course.moves` on `Axis.log`):

    - Training: the noise is estimated from runs that differ only by their seed or, if this is not
      possible, from the curve itself.
    - Documents: the moderated jackknife error of the difference between checkpoints.

    The noise of training is assumed to be independent and equally large for all checkpoints. At
    most `MOST` checkpoints are used, because checkpoints that are too close together share noise.

    Parameters
    ----------
    middle : pandas.DataFrame
        Result of `trajectories.middles`.
    tested : mapping
        The two tested curves.

    Returns
    -------
    dict of pandas.DataFrame
        `phases` has one row for the course of every metric, selection and corpus, averaged over the
        middle blocks, for every run and for the mean over the seeds of a model. `moves` has a row
        for every rise and every fall. `verdicts` has a row for every run, variant and sample of
        documents: whether the paper's curve and its control contain a rise that is followed by a
        fall. Samples share the checkpoints, so they are not replicates of a training.
    """
    steps = middle[middle.step.notna()].sort_values("step", kind="stable")
    described, moves = [], []
    key = ["suite", "model", *intervals.CURVE, "layers"]
    for _, part in steps.groupby(key, sort=False, dropna=False):
        runs = [run for _, run in part.groupby("run", sort=False)]
        # Copies of other runs do not count as seeds.
        seeds = [run for run in runs if not run.is_copy.iloc[0]]
        scale, freedom, mean = _seeds(seeds)
        curves = [(run, scale, intervals.DOCUMENTS) for run in runs]
        if mean is not None:
            # The mean over seeds has less noise than a single run.
            shrunk = None if scale is None else scale / np.sqrt(len(seeds))
            curves.append((mean, shrunk, intervals.SEEDS))
        for curve, noise, over in curves:
            row, found = _described(curve, noise, freedom)
            named = _key(curve) | {"over": over}
            described.append(named | {"tested": _tested(named, tested)} | row)
            moves += [named | move for move in found]
    table = pd.DataFrame(described, columns=schemas.PHASES.names)
    return {
        "phases": table,
        "moves": pd.DataFrame(moves, columns=schemas.MOVES.names),
        "verdicts": _verdicts(table),
    }


def _key(part: pd.DataFrame) -> dict[str, Any]:
    first = part.iloc[0]
    return {name: first[name] for name in [*intervals.RUN, *intervals.CURVE, "layers"]}


def _tested(named: dict[str, Any], tested: Tested) -> str | None:
    """Return `paper` or `control` if the curve is one of the two tested curves of a sample."""
    of_corpus = {**named, "corpus": CorpusLabel.parse(named["corpus"]).kind}
    for role, curve in tested.items():
        if all(of_corpus[name] == value for name, value in curve.items()):
            return role
    return None


def _seeds(runs: list[pd.DataFrame]) -> tuple[float | None, int, pd.DataFrame | None]:
    """Return the noise between seeds, its degrees of freedom, and the mean of the runs."""
    if len(runs) < 2:
        return None, 0, None
    shared = set.intersection(*(set(run.step) for run in runs))
    # Leave out step 0: before training, seeds differ only by their initial weights.
    trained = sorted(step for step in shared if step > 0)
    if len(trained) < SHARED:
        return None, 0, None
    same = [run[run.step.isin(shared)].drop_duplicates("step") for run in runs]
    values = np.stack([intervals.as_array(run.value) for run in same])
    without = [np.stack(run.replicates.to_list()) for run in same]
    is_trained = same[0].step.isin(trained).to_numpy(bool)
    scale = float(np.sqrt(values[:, is_trained].var(axis=0, ddof=1).mean()))
    paired = len({replicate.shape for replicate in without}) == 1
    mean = same[0].assign(
        run=same[0].model,
        seed=None,
        value=values.mean(axis=0),
        replicates=list(np.mean(without, axis=0)) if paired else same[0].replicates,
    )
    known = scale if np.isfinite(scale) and scale > 0 else None
    return known, (len(runs) - 1) * len(trained), mean


def _described(
    part: pd.DataFrame, known_noise: float | None, freedom: int
) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """Return a curve's row of `phases`, and its rows of `moves`, without the key of the curve."""
    part = part.drop_duplicates("step")
    values, steps = intervals.as_array(part.value), part.step.to_numpy(int)
    row = {
        "n_points": part.n_points.min(),
        "n_checkpoints": len(part),
        "first_step": steps[0],
        "first": values[0],
        "last_step": steps[-1],
        "last": values[-1],
        "flag": intervals.joined_flags(part.flag),
    }
    if len(part) < (LEAST if known_noise is None else 3):
        return {**row, "verdict": "too few checkpoints"}, []
    along = axis.of_rows(part)
    kept = course.thinned(along.log(steps), MOST)
    part, values, steps = part.iloc[kept], values[kept], steps[kept]
    without = np.stack(part.replicates.to_list(), axis=1)
    if not (np.isfinite(values).all() and np.isfinite(without).all()):
        return {**row, "verdict": "undefined"}, []
    described = course.describe(values, along.log(steps), without, known_noise, freedom)
    found = described.moves
    moves = [
        {
            "number": number,
            "kind": move.kind,
            "from_step": steps[move.start],
            "to_step": steps[move.stop],
            "before": values[move.start],
            "after": values[move.stop],
            "size": move.size,
            "low": move.low,
            "high": move.high,
        }
        for number, move in enumerate(found)
    ]
    kinds = [move.kind for move in found]
    shown = "rise" in kinds and "fall" in kinds[kinds.index("rise") :]
    row |= {
        "course": ", ".join(kinds),
        "noise": described.noise,
        "resolution": described.resolution,
        "noise_source": "curve" if known_noise is None else "seeds",
        "verdict": SHOWN if shown else NOT_SHOWN,
    }
    return row, moves


def _verdicts(phases: pd.DataFrame) -> pd.DataFrame:
    """Combine the verdicts of the paper's curve and of its control.

    There is a verdict for every run, variant and sample. If the tested corpus of a curve does not
    depend on the variant, the curve of the configuration without variants is used.
    """
    rows = []
    labels = phases.corpus.map(CorpusLabel.parse)
    phases = phases.assign(
        variant=[label.variant for label in labels], sample=[label.sample for label in labels]
    )
    names = ["suite", "run", "over", "sample", "variant"]
    tested = phases[phases.tested.notna()].drop_duplicates([*names, "tested"])
    of = {key: dict(zip(p.tested, p.verdict, strict=True)) for key, p in tested.groupby(names)}
    for key, part in phases.groupby(names, sort=False):
        if key[-1] and key not in of:
            continue
        roles = of.get((*key[:-1], ""), {}) | of.get(key, {})
        paper, control = (roles.get(role, "not measured") for role in ("paper", "control"))
        judged = {paper, control} <= {SHOWN, NOT_SHOWN}
        others = part[part.tested.isna() & part.verdict.isin([SHOWN, NOT_SHOWN])]
        first = part.iloc[0]
        rows.append(
            {
                **{name: first[name] for name in [*intervals.RUN, "over"]},
                "variant": key[-1],
                "sample": key[-2],
                "paper": paper,
                "control": control,
                "verdict": VERDICTS[paper == SHOWN, control == SHOWN] if judged else "untested",
                "n_curves": len(others),
                "n_shown": int((others.verdict == SHOWN).sum()),
            }
        )
    return pd.DataFrame(rows, columns=schemas.VERDICTS.names)
