"""A callback of the Trainer that runs a probe every n steps, and records the readings."""

import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import transformers

from shapesweep.storage.schemas import PROBE_FILE
from shapesweep.training.probe import Probe, Record

#: Minimum seconds between two writes of the file, besides at checkpoints and at the end.
SAVE_SECONDS = 60.0


class ProbeCallback(transformers.TrainerCallback):
    """Measures a model during training.

    The first process writes the file; with several processes, all run the model, so that none
    waits. A resumed training continues the file. An error of the first measurement is raised;
    later, a measurement that fails (because memory runs out, for example) gives a warning, and the
    training goes on.

    Parameters
    ----------
    probe : Probe
    every : int
        Optimizer steps between two measurements; the first is before training.
    log : callable, optional
        `trainer.log`: logs the readings as `shape/<metric>/<layer>` to the Trainer's `log_history`,
        and wherever the Trainer reports to.
    path : path-like, optional
        By default `probe.parquet` in the Trainer's output folder, which the workflow reads.

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

    Add it with `trainer.add_callback(callback)`.
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
        self._record: Record
        self._saved: float
        self._measured = False

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Measure before the first step. If the file exists, append to it."""
        path = Path(args.output_dir, PROBE_FILE) if self.path is None else Path(self.path)
        self._record, self._saved = Record(path, state.global_step), time.monotonic()
        if not state.global_step:
            self._measure(args, state, control, kwargs["model"])

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Measure every n steps."""
        if state.global_step % self.every == 0:
            self._measure(args, state, control, kwargs["model"])

    def on_save(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Write the readings up to this step."""
        if state.is_world_process_zero:
            self._record.save()
        self._saved = time.monotonic()

    on_train_end = on_save

    def _measure(self, args: Any, state: Any, control: Any, model: Any) -> None:
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
            # Logging sets this flag, and the Trainer would then skip its own log.
            wanted = control.should_log
            self.log({reading.name: reading.value for reading in readings})
            control.should_log = wanted
        if time.monotonic() - self._saved > SAVE_SECONDS:
            self.on_save(args, state, control)
