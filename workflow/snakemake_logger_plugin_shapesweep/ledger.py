"""What runs, how far it is, and how long the rest will take: told from Snakemake's events alone."""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from shapesweep import progress

#: The end of a log that is looked at for the job's own progress, in bytes.
TAIL = 4096
#: Where rules of which no job has been seen yet have more than this share of all jobs left, what is
#: known is said to be the least.
UNKNOWN_SHARE = 0.25


@dataclass(frozen=True)
class Running:
    """A job that runs.

    Attributes
    ----------
    rule, words : str
        The rule's name, and its message: "measuring pythia/seed1/step512".
    log : Path or None
    started : float
        Seconds of the clock.
    """

    rule: str
    words: str
    log: Path | None
    started: float

    def progress(self) -> tuple[str, int, int] | None:
        """What the job's log says of how far it is: doing, done, total."""
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
    """The jobs of one run of the workflow.

    Attributes
    ----------
    planned : dict
        Jobs by rule.
    running : dict
        By the jobs' numbers.
    seconds : dict
        By rule, how long each of its finished jobs took.
    clock : callable
        Seconds, as `time.monotonic`.
    """

    planned: dict[str, int] = field(default_factory=dict)
    running: dict[int, Running] = field(default_factory=dict)
    seconds: dict[str, list[float]] = field(default_factory=dict)
    clock: Callable[[], float] = time.monotonic

    def plan(self, jobs: Mapping[str, int]) -> None:
        """Take in how many jobs of every rule there will be."""
        # Rules that only name targets take no time.
        targets = ("total", "all", "sweep", "numbers", "paper", "spikes")
        self.planned = {rule: n for rule, n in jobs.items() if rule not in targets}

    def start(self, number: int, rule: str, words: str, log: Path | None) -> None:
        """A job begins."""
        self.running[number] = Running(rule, words, log, self.clock())

    def finish(self, number: int) -> None:
        """A job has done its work."""
        job = self.running.pop(number, None)
        if job is not None:
            self.seconds.setdefault(job.rule, []).append(self.clock() - job.started)

    def fail(self, number: int) -> None:
        """A job has failed: how long it took says nothing about the others."""
        self.running.pop(number, None)

    @property
    def n_done(self) -> int:
        """Jobs that are finished."""
        return sum(map(len, list(self.seconds.values())))

    @property
    def n_planned(self) -> int:
        """Jobs that there will be."""
        return sum(self.planned.values())

    def left(self) -> str:
        """How long the rest will take, as far as it can be known: "about 3 min left"."""
        # Copies: the display asks from another thread than that which takes the events in.
        seconds, running = dict(self.seconds), list(self.running.values())
        means = {rule: sum(times) / len(times) for rule, times in seconds.items()}
        now, work = self.clock(), 0.0
        waiting = {rule: n - len(seconds.get(rule, ())) for rule, n in self.planned.items()}
        for job in running:
            waiting[job.rule] = waiting.get(job.rule, 1) - 1
            elapsed, told = now - job.started, job.progress()
            if told and told[1]:
                whole = elapsed * told[2] / told[1]
                means.setdefault(job.rule, whole)
            else:
                whole = means.get(job.rule, elapsed)
            work += max(0.0, whole - elapsed)
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
