"""Score how well signals, including the loss itself, warn of loss explosions.

This module computes the tables `spikes` (which runs exploded, and when), `approaches` (signals
before an onset) and `warnings` (scores). A run is unstable if its loss has an onset, and stable
otherwise. Data after an onset is not used.
"""

from collections.abc import Iterator, Set
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import stats

from shapesweep.explosions import detector
from shapesweep.explosions.onset import WINDOW, first_onset
from shapesweep.explosions.signals import FAMILIES, LOGARITHMIC, Family, Name, Signals, read
from shapesweep.storage import schemas

#: Maximum number of false alarms of a detector per 1,000 steps of stable runs.
RATE = 1.0
#: An alarm counts as a warning if it comes at most this number of steps before an onset.
HORIZON = 64
#: Scores are computed only if there are at least this many stable runs, and at least this many
#: unstable runs.
LEAST = 4
#: Number of resamplings of the runs, and number of resamplings that are computed at a time.
RESAMPLED, AT_ONCE = 10_000, 200
LEVEL = 0.95
#: The family of signals that warns of explosions according to the paper. All other families are
#: compared with this family.
CLAIMED = "ID"
TABLES = ("spikes", "approaches", "warnings")


def corrected(n: int) -> float:
    """Return the confidence level of each of n intervals for a joint `LEVEL` (Bonferroni)."""
    return 1 - (1 - LEVEL) / n


def warnings(
    history: pd.DataFrame, copied: Set[tuple[str, str]] = frozenset()
) -> dict[str, pd.DataFrame]:
    """Compute the tables `spikes`, `approaches` and `warnings` (see `schemas`) from a history.

    Parameters
    ----------
    history : pandas.DataFrame
        `schemas.HISTORY`.
    copied : set of (str, str)
        Suite and run of copies of other runs. Their signals do not count.

    Returns
    -------
    dict of pandas.DataFrame
        `spikes` has one row per run. `warnings` has one row per signal, and one per family of
        signals. `warnings` and `approaches` contain only suites with enough stable and unstable
        runs.
    """
    collected: dict[str, list[dict[str, Any]]] = {name: [] for name in TABLES}
    for suite, mine in history.groupby("suite", sort=False):
        runs = []
        for run, part in mine.groupby("run", sort=False):
            losses = part[(part.source == "log") & (part.metric == "loss")]
            if not len(losses):
                continue
            spike = _spike(losses.sort_values("step", kind="stable"))
            collected["spikes"].append({"suite": suite, "run": run, **spike.row})
            if spike.is_clear and (suite, run) not in copied:
                runs.append(read(str(run), part, spike.moment))
        cohort = _Cohort.of([run for run in runs if run is not None])
        if cohort is not None:
            collected["approaches"] += [{"suite": suite, **row} for row in cohort.approaches()]
            collected["warnings"] += [{"suite": suite, **row} for row in cohort.rows()]
    return {
        name: pd.DataFrame(rows, columns=getattr(schemas, name.upper()).names)
        for name, rows in collected.items()
    }


@dataclass(frozen=True)
class _Spike:
    """Whether and when the loss of a run explodes.

    Attributes
    ----------
    row : dict
        Row of `schemas.SPIKES`.
    moment : float or None
        Number of updates of the weights at the log's last entry before the onset. The entry of
        the onset itself is not used, because a logged loss is the mean since the previous entry.
    is_clear : bool
        Whether the log is long enough to determine the onset. An explosion within the first
        `WINDOW` losses is detected too late, unless the loss is not finite.
    """

    row: dict[str, Any]
    moment: float | None
    is_clear: bool


def _spike(losses: pd.DataFrame) -> _Spike:
    values, steps = losses.value.to_numpy(float), losses.step.to_numpy(int)
    at = first_onset(values)
    row: dict[str, Any] = {"n_losses": len(values), "first_step": steps[0], "last_step": steps[-1]}
    if at is None:
        return _Spike(row | {"onset": None}, None, len(values) > WINDOW)
    known = values[max(at - WINDOW, 0) : at]
    row |= {"onset": int(steps[at]), "loss": values[at]}
    row |= {"before": float(np.nanmedian(known)) if np.isfinite(known).any() else None}
    moment = float(steps[at - 1]) if at else 0.0
    return _Spike(row, moment, at != WINDOW or not np.isfinite(values[at]))


@dataclass(frozen=True, eq=False)
class _Cohort:
    """The runs of a suite, with the signals that all runs have in common."""

    names: list[Name]
    detectors: list[tuple[Family, Name]]
    unstable: list[Signals]
    stable: list[Signals]
    outcomes: detector.Outcomes

    @classmethod
    def of(cls, runs: list[Signals]) -> "_Cohort | None":
        every = sorted(runs, key=lambda run: run.onset is None)
        n = sum(run.onset is not None for run in every)
        if min(n, len(every) - n) < LEAST:
            return None
        # If enough runs have all signals of the run with the most signals, drop all other runs.
        widest = max(every, key=lambda run: len(run.names)).names
        alike = [run for run in every if set(widest) <= set(run.names)]
        m = sum(run.onset is not None for run in alike)
        if min(m, len(alike) - m) >= LEAST:
            every, n = alike, m
        names = [name for name in widest if all(name in run.names for run in every)]
        every = [run.of(names) for run in every]
        detectors = [
            (family, name) for family in FAMILIES for name in names if name[0] in family.metrics
        ]
        requested = [(name, family.direction) for family, name in detectors]
        z, moments = [run.toward(requested) for run in every], [run.moments for run in every]
        found = detector.outcomes(z, moments, [run.onset for run in every], HORIZON)
        return cls(names, detectors, every[:n], every[n:], found)

    @cached_property
    def families(self) -> dict[str, list[int]]:
        """The indices of the detectors of each family."""
        detectors: dict[str, list[int]] = {}
        for i, (family, _) in enumerate(self.detectors):
            detectors.setdefault(family.name, []).append(i)
        return detectors

    @cached_property
    def interval(self) -> float:
        """The number of steps between samples, or between logged losses, whichever is larger."""
        return max(run.interval for run in (*self.unstable, *self.stable))

    @cached_property
    def drawn(self) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
        """For each resampling: the copies of each unstable run, and which detectors detect the run.

        The shapes are (n_drawn, n_unstable) and (n_drawn, n_unstable, n_detectors). Thresholds are
        computed from the stable runs that the resampling draws.
        """
        rng = np.random.default_rng(0)
        counts = [
            rng.multinomial(len(runs), np.full(len(runs), 1 / len(runs)), RESAMPLED)
            for runs in (self.unstable, self.stable)
        ]
        detected = []
        for start in range(0, RESAMPLED, AT_ONCE):
            at = self.outcomes.chosen(counts[1][start : start + AT_ONCE], RATE)
            detected.append(~np.isnan(self.outcomes.leads(at)))
        return counts[0], np.concatenate(detected)

    def rows(self) -> Iterator[dict[str, Any]]:
        """Yield the scores of every family and every signal."""
        chosen = [("family", family, at) for family, at in self.families.items()]
        chosen += [("signal", family.name, [i]) for i, (family, _) in enumerate(self.detectors)]
        compared = {"family": len(self.families), "signal": len(self.detectors)}
        for level, family, at in chosen:
            metric, layer, k = self.detectors[at[0]][1] if level == "signal" else (None,) * 3
            row = {"level": level, "family": family, "metric": metric, "layer": layer, "k": k}
            wanted, rates = corrected(compared[level]), self._rates(at)
            yield row | self._scored(at, rates, wanted) | self._behind(at, rates, wanted)

    @cached_property
    def thresholds(self) -> NDArray[np.int64]:
        """The index of each detector's threshold, computed from all stable runs."""
        return self.outcomes.chosen(np.ones(len(self.stable), dtype=int), RATE)

    @cached_property
    def others(self) -> NDArray[np.int64]:
        """The index of each detector's threshold if one of the stable runs is left out.

        The shape is (n_stable, n_detectors). Row i is computed without the stable run i.
        """
        return self.outcomes.chosen(1 - np.eye(len(self.stable), dtype=int), RATE)

    @cached_property
    def leads(self) -> NDArray[np.float64]:
        """The lead of each detector for each unstable run, shape (n_unstable, n_detectors)."""
        return self.outcomes.leads(self.thresholds)

    @cached_property
    def claimed(self) -> tuple[NDArray[np.bool_], NDArray[np.float64]] | None:
        """The runs that the family `CLAIMED` detects, and its detection rate in each resampling."""
        at = self.families.get(CLAIMED)
        return (~np.isnan(self._leads(at)), self._rates(at)) if at else None

    def _scored(self, at: list[int], rates: NDArray[np.float64], wanted: float) -> dict[str, Any]:
        n_stable, n_unstable = len(self.stable), len(self.unstable)
        mine = self._leads(at)
        known = mine[~np.isnan(mine)]
        best = at[int((~np.isnan(self.leads[:, at])).sum(axis=0).argmax())]
        # Count the false alarms of each stable run at the threshold that is computed from all other
        # stable runs.
        false = self.outcomes.false[np.arange(n_stable), best, self.others[:, best]]
        false_alarms = 1000 * false.sum() / self.outcomes.watched.sum()
        early = self.outcomes.early[:, best, self.thresholds[best]]
        low, high = _wider(rates, len(known), n_unstable, wanted)
        lead, lead_low, lead_high = _median(known)
        return {
            "n_unstable": n_unstable,
            "n_stable": n_stable,
            "rate": RATE,
            "horizon": HORIZON,
            "interval": self.interval,
            "threshold": float(detector.THRESHOLDS[self.thresholds[best]]),
            "detection": len(known) / n_unstable,
            "detection_low": low,
            "detection_high": high,
            "chance": float(1 - np.exp(-max(false_alarms, RATE) * HORIZON / 1000)),
            "false_alarms": false_alarms,
            "early_alarms": 1000 * early.sum() / max(self.outcomes.watched_early.sum(), 1.0),
            "lead": lead,
            "lead_low": lead_low,
            "lead_high": lead_high,
            "resolved": lead > self.interval,
        }

    def _rates(self, at: list[int]) -> NDArray[np.float64]:
        """For every resampling, return the detection rate of the best of the detectors `at`."""
        counts, detected = self.drawn
        mine = detected[:, :, at]
        best = detector.best_signals(mine, counts)
        hit = np.take_along_axis(mine, best[..., None], axis=-1)[..., 0]
        return (counts * hit).sum(axis=1) / counts.sum(axis=1)

    def _behind(self, at: list[int], rates: NDArray[np.float64], wanted: float) -> dict[str, Any]:
        """Return the detection rate of the family `CLAIMED` minus that of the detectors `at`."""
        if self.claimed is None or set(at) <= set(self.families[CLAIMED]):
            return {}
        hits, its_rates = self.claimed
        mine = ~np.isnan(self._leads(at))
        low, high = _quantiles(its_rates - rates, wanted)
        # If the detections differ in only a few runs, and always in the same direction, resampling
        # underestimates the uncertainty, but a sign test does not.
        only, either = int((hits & ~mine).sum()), int((hits ^ mine).sum())
        if not either or stats.binomtest(only, either).pvalue > 1 - wanted:
            low, high = min(low, 0.0), max(high, 0.0)
        behind = (hits.sum() - mine.sum()) / len(mine)
        return {"behind": float(behind), "behind_low": low, "behind_high": high}

    def _leads(self, at: list[int]) -> NDArray[np.float64]:
        """For each unstable run, return the lead of the detector that is best on all other runs."""
        leads = self.leads[:, at]
        best = detector.best_signals(~np.isnan(leads), np.ones(len(leads), dtype=int))
        return leads[np.arange(len(leads)), best]

    def approaches(self) -> Iterator[dict[str, Any]]:
        """Yield the changes of signals before onsets, and at the same steps of stable runs."""
        bins = np.arange(self.interval, HORIZON + self.interval, self.interval)
        onsets = [run.onset for run in self.unstable]
        own = [_change(run, run.onset, bins, self.interval) for run in self.unstable]
        # For a stable run, average over the times at which the unstable runs explode.
        others = [
            np.ma.masked_invalid([_change(run, at, bins, self.interval) for at in onsets])
            for run in self.stable
        ]
        changes = {
            "unstable": np.array(own),
            "stable": np.array([values.mean(axis=0).filled(np.nan) for values in others]),
        }
        for kind, values in changes.items():
            for j, i in np.ndindex(values.shape[1:]):
                metric, layer, k = self.names[i]
                known = values[~np.isnan(values[:, j, i]), j, i]
                relative = metric in LOGARITHMIC
                ends = [np.expm1(end) if relative else end for end in _median(known)]
                row: dict[str, Any] = {"metric": metric, "layer": layer, "k": k, "kind": kind}
                row |= {"lead": int(bins[j]), "n_runs": len(known), "relative": relative}
                yield row | dict(zip(("value", "low", "high"), ends, strict=True))


def _change(
    signals: Signals, onset: float | None, bins: NDArray[np.float64], interval: float
) -> NDArray[np.float64]:
    """Return the differences of signals from their medians in the first half of the horizon.

    The shape is (n_bins, n_signals).
    """
    assert onset is not None
    ahead = onset - signals.moments
    far = (ahead > HORIZON / 2) & (ahead <= HORIZON)
    changes = np.full((len(bins), len(signals.names)), np.nan)
    if not far.any():
        return changes
    finite = np.where(np.isfinite(signals.values), signals.values, np.nan)
    base = pd.DataFrame(finite[far]).median().to_numpy()
    # A sample belongs to the shortest lead in `bins` that is not shorter than its distance from the
    # onset.
    bin_numbers = np.ceil(ahead / interval).astype(int) - 1
    inside = (ahead >= 1) & (bin_numbers < len(bins))
    changes[bin_numbers[inside]] = finite[inside] - base
    return changes


def _quantiles(values: NDArray[np.float64], wanted: float) -> tuple[float, float]:
    low, high = np.quantile(values, [(1 - wanted) / 2, (1 + wanted) / 2])
    return float(low), float(high)


def _wider(rates: NDArray[np.float64], hits: int, n: int, wanted: float) -> tuple[float, float]:
    """Widen the resampling interval so that it includes the exact interval of Clopper and Pearson.

    If all runs were detected, the resampling interval has width zero.
    """
    drawn, exact = _quantiles(rates, wanted), stats.binomtest(hits, n).proportion_ci(wanted)
    return min(drawn[0], float(exact.low)), max(drawn[1], float(exact.high))


def _median(values: NDArray[np.float64]) -> tuple[float, float, float]:
    """Return a median with its distribution-free interval from order statistics.

    If there are too few values for the level, the interval extends from the lowest to the highest
    value. If there are no values, the median and the interval are NaN.
    """
    if not len(values):
        return (np.nan,) * 3
    ordered, n = np.sort(values), len(values)
    cut = max(int(stats.binom.ppf((1 - LEVEL) / 2, n, 0.5)) - 1, 0)
    return float(np.median(ordered)), float(ordered[cut]), float(ordered[n - 1 - cut])
