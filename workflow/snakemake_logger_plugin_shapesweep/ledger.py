"""The running jobs, their progress, and the time left, computed from Snakemake's events."""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from shapesweep import progress

#: Number of bytes at the end of a log that are searched for the progress of a job.
TAIL = 4096
#: If the duration is unknown for more than this share of the planned jobs, the time left is shown
#: as a lower bound.
UNKNOWN_SHARE = 0.25


@dataclass(frozen=True)
class Running:
    """A running job.

    Attributes
    ----------
    rule, words : str
        Name of the rule, and its message, such as "measuring pythia/seed1/step512".
    log : Path or None
    started : float
        Start time in seconds.
    """

    rule: str
    words: str
    log: Path | None
    started: float

    def progress(self) -> tuple[str, int, int] | None:
        """Read the activity, the number of finished items and the total number from the log."""
        if self.log is None:
            return None
        try:
            with self.log.open("rb") as file:
                file.seek(max(0, self.log.stat().st_size - TAIL))
                return progress.read(file.read().decode("utf-8", errors="replace"))
        except OSError:
            return None


@dataclass
class Ledger:
    """The jobs of a run of the workflow.

    Attributes
    ----------
    planned : dict
        Number of planned jobs of each rule.
    running : dict
        Running jobs by job ID.
    seconds : dict
        Durations of the finished jobs of each rule.
    clock : callable
        Function that returns the time in seconds, such as `time.monotonic`.
    """

    planned: dict[str, int] = field(default_factory=dict)
    running: dict[int, Running] = field(default_factory=dict)
    seconds: dict[str, list[float]] = field(default_factory=dict)
    clock: Callable[[], float] = time.monotonic

    def plan(self, jobs: Mapping[str, int]) -> None:
        """Set the number of jobs of every rule."""
        # Rules that only collect targets take no time.
        targets = ("total", "all", "sweep", "numbers", "paper", "spikes")
        self.planned = {rule: n for rule, n in jobs.items() if rule not in targets}

    def start(self, number: int, rule: str, words: str, log: Path | None) -> None:
        """Add a running job."""
        self.running[number] = Running(rule, words, log, self.clock())

    def finish(self, number: int) -> None:
        """Record a finished job."""
        job = self.running.pop(number, None)
        if job is not None:
            self.seconds.setdefault(job.rule, []).append(self.clock() - job.started)

    def fail(self, number: int) -> None:
        """Remove a failed job, without recording its duration."""
        self.running.pop(number, None)

    @property
    def n_done(self) -> int:
        """Number of finished jobs."""
        return sum(map(len, list(self.seconds.values())))

    @property
    def n_planned(self) -> int:
        """Number of planned jobs."""
        return sum(self.planned.values())

    def left(self) -> str:
        """Return an estimate of the time left, such as "about 3 min left"; empty if unknown."""
        # Copy `seconds` and `running`, because the display calls this method from another thread.
        seconds, running = dict(self.seconds), list(self.running.values())
        means = {rule: sum(times) / len(times) for rule, times in seconds.items()}
        now, work = self.clock(), 0.0
        waiting = {rule: n - len(seconds.get(rule, ())) for rule, n in self.planned.items()}
        for job in running:
            waiting[job.rule] = waiting.get(job.rule, 1) - 1
            elapsed, state = now - job.started, job.progress()
            if state and state[1]:
                duration = elapsed * state[2] / state[1]
                means.setdefault(job.rule, duration)
            else:
                duration = means.get(job.rule, elapsed)
            work += max(0.0, duration - elapsed)
        unknown = sum(n for rule, n in waiting.items() if rule not in means)
        if not means or self.n_done == self.n_planned:
            return ""
        work += sum(n * means[rule] for rule, n in waiting.items() if rule in means)
        bound = unknown > UNKNOWN_SHARE * self.n_planned
        if not bound:
            work += unknown * sorted(means.values())[len(means) // 2]
        time_left = _words(work / max(1, len(running)))
        return f"{'at least' if bound else 'about'} {time_left} left"


def _words(seconds: float) -> str:
    if seconds < 90:
        return f"{max(1, round(seconds))} s"
    if seconds < 90 * 60:
        return f"{round(seconds / 60)} min"
    return f"{round(seconds / 3600)} h"
