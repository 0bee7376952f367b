"""Read the log of one training run: its losses, gradient norms and learning rates, by step.

Training programs and their reports name the same columns in different ways. The tables in this
module list the known names, by priority. Names are compared in lower case, and without a difference
between blanks, `_`, `-`, `/` and other punctuation: `Train/Loss` is `train_loss`.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import pandas as pd

from shapesweep.errors import ShapesweepError
from shapesweep.manifest.log_files import Entry, entries_of
from shapesweep.storage.files import pointer_problem
from shapesweep.storage.schemas import LARGEST

#: Increase the version if a change of this module changes the numbers that are read from a log.
VERSION = 4
#: Columns of steps. The column `_step` of Weights & Biases is the last, because it counts the calls
#: that logged something.
STEP = (
    *("train_global_step", "trainer_global_step", "global_step", "*_global_step"),
    *("global_step_max_steps", "step", "steps", "current_steps", "train_step", "training_step"),
    *("training_steps", "optimizer_step", "update_step", "iteration", "iterations", "iter"),
    *("train_iter", "iteration_step", "_step"),
)
_LOSS = (
    # transformers, Lightning, nanoGPT, torchtune, LitGPT, LLaMA-Factory, Lucie
    *("loss", "train_loss", "training_loss", "loss_train"),
    # Megatron-LM, GPT-NeoX, BLOOM, NeMo
    *("lm_loss", "train_lm_loss", "lm_loss_training_lm_loss", "reduced_train_loss"),
    # OLMo, OLMo-core, LLM Foundry, torchtitan, MaxText
    *("train_crossentropyloss", "train_ce_loss", "loss_train_total"),
    *("metrics_train_languagecrossentropy", "loss_metrics_global_avg_loss", "global_avg_loss"),
    "learning_loss",
)
#: Columns of each metric. Lightning adds `_step` to the loss of a step, and `_epoch` to the mean
#: loss of an epoch.
METRICS = {
    "loss": tuple(name + ending for ending in ("", "_step", "_epoch") for name in _LOSS),
    "gradient_norm": (
        *("grad_norm", "gradient_norm", "train_grad_norm", "optim_total_grad_norm"),
        *("grad_norm_grad_norm", "grad_norm_total", "learning_grad_norm", "l2_norm_grad_global"),
    ),
    "learning_rate": (
        *("learning_rate", "lr", "train_learning_rate", "train_lr", "optim_learning_rate"),
        *("optim_learning_rate_group0", "optim_lr_group_0", "learning_rate_learning_rate"),
        *("learning_current_learning_rate", "lr_adam*", "lr_decoupledadamw_group0"),
    ),
}
#: Columns that name the run of a row.
RUN = ("run", "run_name", "run_id")
#: Columns that name the process or the training of a row. Several rows of a step may differ there.
PROCESS = (
    *("seed", "model", "model_name", "experiment", "rank", "local_rank", "global_rank", "gpu"),
    *("process", "process_index", "worker", "host", "hostname", "node", "device", "dataset"),
)
#: Columns that say whether a row is from an evaluation, in words.
SPLIT = (
    *("split", "mode", "phase", "stage", "type", "kind", "event", "subset", "set", "partition"),
    *("dataset", "metric", "logger", "prefix"),
)
#: Columns of true and false that say so. The first are true for an evaluation.
FLAGS = (
    ("is_eval", "eval", "evaluation", "is_evaluation", "is_validation", "validation", "is_val"),
    ("train", "training", "is_train", "is_training"),
)
#: Columns of the last entry of a Trainer. Its `train_loss` is the mean of all losses.
SUMMARY = ("train_runtime", "train_steps_per_second")
#: Words in the names of columns, and in the values of `SPLIT`, that belong to an evaluation.
_EVALUATION = {
    *("eval", "evals", "evaluate", "evaluating", "evaluation", "val", "valid", "validate"),
    *("validating", "validation", "test", "testing", "testset", "dev", "heldout", "cv"),
}
_TRUE, _FALSE = {"true", "1", "1.0", "yes"}, {"false", "0", "0.0", "no"}


def read_log(path: str | Path, data: bytes | None = None) -> pd.DataFrame:
    """Read the numbers that a training run has logged.

    Parameters
    ----------
    path : path-like
        A file `*.json` (state of a Trainer, list of entries, or scalar of TensorBoard), `*.jsonl`
        (one object per line) or `*.csv`.
    data : bytes, optional
        Contents of the file, if the file is not on this machine.

    Returns
    -------
    pandas.DataFrame
        With columns step, metric (`loss`, `gradient_norm`, `learning_rate`) and value; for each
        step and metric, the last value that was logged. A NaN counts only if the step has no
        other value. If a training was resumed, its earlier rows count only up to the step from
        which it was resumed.

    Raises
    ------
    ShapesweepError
        If the file is absent or damaged, has no column of steps or of training losses, contains
        several runs or processes, contains losses that are not numbers, or contains steps that are
        not integers or that begin again in each epoch.
    """
    path = Path(path)
    try:
        data = path.read_bytes() if data is None else data
    except FileNotFoundError:
        raise ShapesweepError(f"{path}: there is no such log") from None
    except OSError as error:
        raise ShapesweepError(f"{path}: cannot be read: {error.strerror}") from None
    problem = pointer_problem([path])
    if problem:
        raise ShapesweepError(f"{path}: {problem}")
    try:
        _check_name(path.stem)
        rows = _rows(entries_of(path.name, data))
    except ShapesweepError as error:
        raise ShapesweepError(f"{path}: {error}") from None
    table = pd.DataFrame(rows, columns=["step", "metric", "value"])
    table = table.astype({"step": int, "value": float})
    abandoned = table.groupby("metric", sort=False).step.transform(_is_abandoned)
    table = table[~abandoned.to_numpy(bool)]
    # A training run that was resumed may have logged some steps twice. If a step has a number and a
    # NaN, the NaN may be the missing value of another entry, such as an evaluation.
    table = table.sort_values("value", key=pd.Series.notna, kind="stable")
    table = table.drop_duplicates(["step", "metric"], keep="last")
    return table.sort_values(["metric", "step"], kind="stable").reset_index(drop=True)


def _check_name(stem: str) -> None:
    """Raise an error if the name of the file says that its values are not losses by training step.

    Raises
    ------
    ShapesweepError
    """
    name = _plain(stem)
    words = name.split("_")
    # The tag of TensorBoard in a name becomes the name of the column.
    is_evaluation = _is_of_evaluation(name) and "loss" in words and "tag" not in words
    if is_evaluation or name in ("eval", "evaluation", "val", "valid", "validation"):
        raise ShapesweepError(
            "its name says that it contains the losses of an evaluation; "
            "name a file with training losses"
        )
    # Names of DeepSpeed, such as Train_Samples_train_loss.csv.
    if name.startswith("train_samples_"):
        raise ShapesweepError(
            "its steps are numbers of samples; divide them by the number of samples per step, and "
            "rename the file"
        )


def _is_abandoned(steps: "pd.Series[int]") -> "pd.Series[bool]":
    """Return which rows a training wrote before it was resumed from an earlier step.

    These are the rows before a smaller step. If many steps are smaller than the step before, the
    file is not in the order of steps, and no row is abandoned.
    """
    backwards = (steps.diff() < 0).sum()
    following = steps[::-1].cummin()[::-1]
    return (steps > following) & (4 * backwards < len(steps))


def _rows(entries: Sequence[Entry]) -> list[tuple[int, str, float]]:
    """Return the step, the metric and the value of every number that is logged for a metric."""
    columns = list(dict.fromkeys(name for entry in entries for name in entry))
    if not columns:
        return []
    entries = _of_training(entries, columns)
    names = _names_of_run(columns)
    found = {metric: _column(names, known, entries) for metric, known in METRICS.items()}
    loss = found["loss"]
    if loss is None:
        raise _absent("training losses", "loss, train_loss or train/loss", columns)
    with_loss = [entry for entry in entries if _is_number(entry.get(loss))]
    for column in (column for column, name in names.items() if name in RUN):
        _refuse_several(entry.get(column) for entry in with_loss)
    moving = {column: name for column, name in names.items() if _is_moving(with_loss, column)}
    # Columns such as `resumed_from/global_step` contain the same step in all rows.
    step = _column(moving, STEP, with_loss) or _column(names, STEP, with_loss)
    if step is None:
        raise _absent("steps", "step, global_step or iteration", columns)
    _check_repeats(with_loss, names, step, loss)
    _check_numbers(entries, step, loss)
    # A missing value is None, because NaN is a value that a log may contain.
    return [
        (_whole(entry[step], step), metric, float(entry[name]))
        for metric, name in found.items()
        if name is not None
        for entry in entries
        if not _is_missing(entry.get(step)) and _is_number(entry.get(name))
    ]


def _of_training(entries: Sequence[Entry], columns: Sequence[str]) -> Sequence[Entry]:
    """Return the entries of training steps.

    Entries of an evaluation (see `SPLIT` and `FLAGS`) are left out, and so is the last entry of a
    Trainer (see `SUMMARY`).
    """
    summary = [column for column in columns if _plain(column).endswith(SUMMARY)]
    if len(summary) == len(SUMMARY):
        entries = [e for e in entries if any(_is_missing(e.get(column)) for column in summary)]
    for column in columns:
        name = _plain(column)
        if name in SPLIT:
            entries = [e for e in entries if not _is_of_evaluation(_plain(str(e.get(column))))]
        for flags, dropped in zip(FLAGS, (_TRUE, _FALSE), strict=True):
            values = [str(e.get(column)).strip().lower() for e in entries]
            known = {value for value in values if not _is_missing(value)}
            # A column of losses may have the same name.
            if name in flags and known <= _TRUE | _FALSE:
                kept = [e for e, value in zip(entries, values, strict=True) if value not in dropped]
                entries = kept or entries
    return entries


def _check_numbers(entries: Sequence[Entry], step: str, loss: str) -> None:
    """Raise an error if a row of a step contains a text in place of a loss.

    Raises
    ------
    ShapesweepError
    """
    for entry in entries:
        value = entry.get(loss)
        if not (_is_missing(value) or _is_number(value) or _is_missing(entry.get(step))):
            raise ShapesweepError(
                f"the column {loss} contains {value!r} at step {entry[step]}, which is not a number"
            )


def _check_repeats(
    entries: Sequence[Entry], names: Mapping[str, str], step: str, loss: str
) -> None:
    """Raise an error if rows of one step are from several processes or epochs.

    Raises
    ------
    ShapesweepError
    """
    by_step: dict[Any, list[Entry]] = {}
    for entry in entries:
        by_step.setdefault(_first(entry.get(step)), []).append(entry)
    repeated = [rows for rows in by_step.values() if len({row.get(loss) for row in rows}) > 1]

    def differ(rows: Sequence[Entry], column: str) -> bool:
        return len({str(v) for row in rows if not _is_missing(v := row.get(column))}) > 1

    for column, name in names.items():
        if name in PROCESS and any(differ(rows, column) for rows in repeated):
            raise ShapesweepError(
                f"contains several losses of a step, whose rows differ in the column {column}; "
                "write a separate file for each run, with the losses of one process"
            )
        # After a restart in another epoch, a few steps are repeated.
        if name == "epoch" and 2 * sum(differ(rows, column) for rows in repeated) > len(by_step):
            raise ShapesweepError(
                f"the steps in the column {step} begin again in each epoch; replace them by the "
                "number of steps since the start of the training"
            )


def _names_of_run(columns: Iterable[str]) -> dict[str, str]:
    """Return the plain names of all columns that belong to the run.

    The web page of Weights & Biases names a column `<run> - <name>`.

    Raises
    ------
    ShapesweepError
        If there are training losses of several runs.
    """
    parts = {column: column.rpartition(" - ") for column in columns}
    names = {column: _plain(name) for column, (_, _, name) in parts.items()}
    runs = [run for column, (run, _, _) in parts.items() if names[column] in METRICS["loss"]]
    _refuse_several(runs)
    return {column: name for column, name in names.items() if parts[column][0] in ("", *runs)}


def _refuse_several(runs: Iterable[Any]) -> None:
    """Raise an error if there are several names of runs."""
    names = list(dict.fromkeys(str(run).strip() for run in runs if not _is_missing(run)))
    if len(names) > 1:
        more = f" and {len(names) - 8} more" if len(names) > 8 else ""
        raise ShapesweepError(
            f"contains the losses of several runs ({', '.join(names[:8])}{more}); "
            "write a separate file for each run"
        )


def _plain(name: str) -> str:
    """Return the name of a column in lower case, with `_` in place of all punctuation.

    Examples
    --------
    >>> _plain(" Train/Loss "), _plain("optim/LR (group 0)"), _plain("_step")
    ('train_loss', 'optim_lr_group_0', '_step')
    """
    return re.sub(r"[\W_]+", "_", name.strip().lower()).rstrip("_")


def _column(names: Mapping[str, str], known: Sequence[str], entries: Sequence[Entry]) -> str | None:
    """Return the column that comes first in the list of known names, among columns with numbers.

    If several columns have the same plain name, the first of them in the file is returned.
    """
    of_training = {
        column: name
        for column, name in names.items()
        if not _is_of_evaluation(name)
        and any(_is_number(_first(entry.get(column))) for entry in entries)
    }
    matches = (
        column
        for wanted in known
        for column, name in of_training.items()
        if fnmatchcase(name, wanted)
    )
    return next(matches, None)


def _is_moving(entries: Sequence[Entry], column: str) -> bool:
    return len({str(_first(entry.get(column))) for entry in entries}) > 1


def _is_of_evaluation(name: str) -> bool:
    words = {word.rstrip("0123456789") for word in name.split("_")}
    return not _EVALUATION.isdisjoint(words) or "held_out" in name


def _absent(what: str, examples: str, columns: Sequence[str]) -> ShapesweepError:
    return ShapesweepError(
        f"has no column of {what}, such as {examples}, that contains numbers; its columns are "
        f"{', '.join(columns) or 'absent'}"
    )


def _whole(value: Any, column: str) -> int:
    """Return a step as an integer.

    Raises
    ------
    ShapesweepError
        If the value is not an integer from 0 to `LARGEST`.
    """
    value = _first(value)
    number = float(value) if _is_number(value) else -1
    if not (0 <= number <= LARGEST and number == int(number)):
        raise ShapesweepError(
            f"the column {column} contains {value}, but training steps must be non-negative 64-bit "
            "integers; if the column contains epochs, replace them by steps"
        )
    return int(number)


def _first(value: Any) -> Any:
    """Return the step of a text such as `100/300`, which contains the last step, too."""
    found = re.fullmatch(r"\s*(\d+)\s*/\s*\d+\s*", value) if isinstance(value, str) else None
    return found[1] if found else value


def _is_missing(value: Any) -> bool:
    return value is None or str(value).strip().lower() in ("", "nan", "null", "none")


def _is_number(value: Any) -> bool:
    """Return whether a cell of a log is a number, including NaN and infinity."""
    try:
        float(value)
    except (TypeError, ValueError, OverflowError):
        return False
    return not isinstance(value, bool)
