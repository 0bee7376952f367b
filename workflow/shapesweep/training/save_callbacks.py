"""Callbacks that decide when the training of an embedded suite saves checkpoints."""

import math
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import transformers

from shapesweep.config.suite import OnsetConfig
from shapesweep.explosions.onset import CONFIRMING, first_onset


class AtSteps(transformers.TrainerCallback):
    """Saves checkpoints and logs losses at the steps of a suite, and shows the progress.

    Parameters
    ----------
    steps : sequence of int
    shown : tqdm
    """

    def __init__(self, steps: Sequence[int], shown: Any) -> None:
        self.steps, self.shown = set(steps), shown

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Request a checkpoint and a log entry at the steps of the suite."""
        if state.global_step in self.steps:
            control.should_save = control.should_log = True
        self.shown.update()


class AroundOnset(transformers.TrainerCallback):
    """Keeps the checkpoints around the onset of a loss explosion, and then ends the training.

    Checkpoints are saved every few steps. While the logged loss has no onset (`explosions.onset`),
    only the most recent of these checkpoints are kept. The onset determines only which checkpoints
    are kept, and when the training ends. Without an onset, only checkpoints at the steps of the
    suite are kept.

    Parameters
    ----------
    settings : OnsetConfig
    steps : sequence of int
        Steps at which checkpoints are always kept.
    """

    def __init__(self, settings: OnsetConfig, steps: Sequence[int]) -> None:
        self.settings, self.steps = settings, set(steps)
        self.logged: list[tuple[int, float]] = []
        self.onset: int | None = None
        self.saved: list[int] = []

    def on_log(
        self, args: Any, state: Any, control: Any, logs: dict[str, float], **kwargs: Any
    ) -> None:
        """Check the logged losses for an onset."""
        if "loss" in logs and self.onset is None:
            self.logged.append((state.global_step, logs["loss"]))
            at = first_onset(np.array([loss for _, loss in self.logged]))
            self.onset = None if at is None else self.logged[at][0]

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Request a checkpoint every few steps, and end the training after the onset."""
        if state.global_step % self.settings.every == 0:
            control.should_save = True
        if self.onset is not None and len(self._after()) >= self.settings.after:
            control.should_training_stop = True

    def on_save(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """While there is no onset, remove all checkpoints but the most recent."""
        self.saved.append(state.global_step)
        if self.onset is None:
            # An onset is detected only after several further losses are logged.
            late = math.ceil(CONFIRMING * args.logging_steps / self.settings.every)
            spare = self.settings.before + late + 1
            self._keep(args.output_dir, set(self.saved[-spare:]))

    def on_train_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Remove checkpoints that are not around the onset."""
        kept: set[int] = set()
        if self.onset is not None:
            before = [step for step in self.saved if step < self.onset]
            kept = {*before[-self.settings.before :], *self._after()[: self.settings.after]}
        self._keep(args.output_dir, kept)

    def _after(self) -> list[int]:
        return [step for step in self.saved if self.onset is not None and step >= self.onset]

    def _keep(self, folder: str, kept: set[int]) -> None:
        for step in set(self.saved) - kept - self.steps:
            shutil.rmtree(Path(folder, f"checkpoint-{step}"))
        self.saved = [step for step in self.saved if step in kept | self.steps]
