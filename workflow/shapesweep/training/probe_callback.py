"""The probe at work in transformers' Trainer: every n steps, into its logs and a Parquet file."""

import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import transformers

from shapesweep.storage.schemas import PROBE_FILE
from shapesweep.training.probe import Probe, Record

#: Seconds between two writings of the file, at least; also at every checkpoint and at the end.
SAVE_SECONDS = 60.0


class ProbeCallback(transformers.TrainerCallback):
    """Measures the model while it is trained.

    The file is written by the first process; where there are several, all of them run the model,
    so that none waits for another. A training that is resumed goes on in the same file. What keeps
    a model from being measured at all is raised the first time; later, a moment that cannot be
    measured (for want of memory, say) is warned of and left out, and the training goes on.

    Parameters
    ----------
    probe : Probe
    every : int
        Optimiser steps from one measurement to the next; the first is before training.
    log : callable, optional
        `trainer.log`: then the readings stand in the Trainer's `log_history`, and wherever it
        reports to, as `shape/<metric>/<layer>`.
    path : path-like, optional
        By default `probe.parquet` in the Trainer's output folder, where the workflow finds it.

    Raises
    ------
    ValueError
        If `every` is not at least 1.

    Examples
    --------
    >>> from shapesweep.training.probe import Probe
    >>> callback = ProbeCallback(Probe([[1, 2, 3], [3, 2, 1]]), every=10)
    >>> callback.every
    10

    A Trainer takes it with `trainer.add_callback(callback)`.
    """

    def __init__(
        self,
        probe: Probe,
        every: int = 50,
        log: Callable[[dict[str, float]], None] | None = None,
        path: str | Path | None = None,
    ) -> None:
        if every < 1:
            raise ValueError(f"every must be at least 1, got {every}")
        self.probe, self.every, self.log, self.path = probe, every, log, path
        self._record: Record | None = None
        self._saved = 0.0
        self._measured = False

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Measure before the first step, and go on with a file that is there."""
        path = Path(args.output_dir, PROBE_FILE) if self.path is None else Path(self.path)
        self._record, self._saved = Record(path, state.global_step), time.monotonic()
        if not state.global_step:
            self._measure(state, control, kwargs["model"])

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Measure, if it is time to."""
        if state.global_step % self.every == 0:
            self._measure(state, control, kwargs["model"])

    def on_save(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Write what belongs to the checkpoint."""
        self._save(state)

    def on_train_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Write what is left."""
        self._save(state)

    def _measure(self, state: Any, control: Any, model: Any) -> None:
        assert self._record is not None
        try:
            readings = self.probe(model)
        except Exception as error:
            if not self._measured:
                raise
            warnings.warn(f"not measured at step {state.global_step}: {error}", stacklevel=2)
            return
        self._measured = True
        self._record.add(state.global_step, readings)
        if self.log:
            # Whoever logs has logged, to the Trainer: it would leave out its own loss.
            wanted = control.should_log
            self.log({reading.name: reading.value for reading in readings})
            control.should_log = wanted
        if time.monotonic() - self._saved > SAVE_SECONDS:
            self._save(state)

    def _save(self, state: Any) -> None:
        assert self._record is not None
        if state.is_world_process_zero:
            self._record.save()
        self._saved = time.monotonic()
