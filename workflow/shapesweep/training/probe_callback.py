"""A callback of the Trainer that runs a probe every n steps, and records the readings."""

import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import transformers

from shapesweep.storage.schemas import PROBE_FILE
from shapesweep.training.probe import Probe, Record

#: Minimum number of seconds before the file of readings is written again. The file is also written
#: at every checkpoint and at the end of the training.
SAVE_SECONDS = 60.0


class ProbeCallback(transformers.TrainerCallback):
    """Measures a model during training.

    With several processes, every process runs the model, so that no process waits for another; only
    the first process writes the file. If training is resumed, new readings are added to the file.
    If the first measurement fails, its error is raised. If a later measurement fails (for example,
    because memory runs out), a warning is issued, and training continues.

    Parameters
    ----------
    probe : Probe
    every : int
        Number of optimizer steps between two measurements. The first measurement takes place before
        training.
    log : callable, optional
        Function that logs the readings, under the names `shape/<metric>/<layer>`. Pass
        `trainer.log` to log to the Trainer's `log_history` and to its reporting integrations.
    path : path-like, optional
        File for the readings. The default is `probe.parquet` in the Trainer's output folder, where
        the workflow looks for it.

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

    Add the callback with `trainer.add_callback(callback)`.
    """

    def __init__(
        self,
        probe: Probe,
        every: int = 50,
        log: Callable[[dict[str, float]], None] | None = None,
        path: str | Path | None = None,
    ) -> None:
        if every < 1:
            raise ValueError(f"`every` must be at least 1, got {every}")
        self.probe, self.every, self.log, self.path = probe, every, log, path
        self._record: Record
        self._saved: float
        self._measured = False

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Measure before the first step. If training is resumed, keep the earlier readings."""
        path = Path(args.output_dir, PROBE_FILE) if self.path is None else Path(self.path)
        self._record, self._saved = Record(path, state.global_step), time.monotonic()
        if not state.global_step:
            self._measure(args, state, control, kwargs["model"])

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Measure at every multiple of `every` steps."""
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
            # Logging resets `should_log`, and the Trainer would then not log its own values.
            wanted = control.should_log
            self.log({reading.name: reading.value for reading in readings})
            control.should_log = wanted
        if time.monotonic() - self._saved > SAVE_SECONDS:
            self.on_save(args, state, control)
