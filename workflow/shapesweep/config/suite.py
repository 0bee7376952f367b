"""Definitions of suites, which state the runs to measure.

A definition is a file of the registry, or a mapping in the configuration. The descriptions of keys
also appear in the reference and in editors.
"""

import re
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field, TypeAdapter, field_validator

from shapesweep.config.hub_suite import HubSuite
from shapesweep.validation import AnyPath, Strict, pattern

#: A name that is safe as a component of a path. The name of a checkpoint may also contain `=`, as
#: in Lightning's `epoch=0-step=100`.
NAME = r"^[A-Za-z0-9][A-Za-z0-9._-]{0,119}$"
REVISION = r"^[A-Za-z0-9][A-Za-z0-9._=-]{0,119}$"
Name = Annotated[str, Field(pattern=NAME)]

#: A base model on the Hub, which is pinned by the full SHA of a commit.
ON_HUB = r"[A-Za-z0-9][\w.-]*/[\w.-]+@[0-9a-f]{40}"

#: Name of the file with the recipe of a trained run. The file is in the folder of the run.
RECIPE = "recipe.json"


def _check_type(model: dict[str, Any]) -> dict[str, Any]:
    if "model_type" not in model:
        raise ValueError("needs the key model_type, as in the config.json of transformers")
    return model


class TrainedRun(Strict):
    """A run of an embedded suite."""

    model: Annotated[dict[str, Any], AfterValidator(_check_type)] = Field(
        description="shape of the model, as in the `config.json` of transformers; `model_type` "
        "is required"
    )
    learning_rate: float = Field(
        gt=0, description="learning rate of AdamW, constant after the warm-up"
    )
    warmup_steps: int = Field(0, ge=0, description="steps until the full learning rate is reached")
    weight_decay: float = Field(0.1, ge=0, description="weight decay of AdamW")
    adam_beta1: float = Field(0.9, ge=0, lt=1, description="beta1 of AdamW")
    adam_beta2: float = Field(0.999, gt=0, lt=1, description="beta2 of AdamW")
    adam_epsilon: float = Field(1e-8, gt=0, description="epsilon of AdamW")
    max_grad_norm: float = Field(
        1.0, ge=0, description="norm to which larger gradients are clipped; 0 turns off clipping"
    )
    masked_share: float = Field(
        0.15, gt=0, lt=1, description="for an encoder: fraction of tokens that are masked"
    )
    seed: int = Field(
        0, ge=0, lt=2**32, description="random seed for the weights and the order of documents"
    )


class ProbeConfig(Strict):
    """Measurements during training."""

    every: int = Field(50, ge=1, description="steps between two measurements")
    documents: int = Field(
        16, ge=2, description="number of documents of the held-out text that are measured"
    )


class OnsetConfig(Strict):
    """Checkpoints around the onset of a loss explosion."""

    every: int = Field(8, ge=1, description="steps between two checkpoints")
    before: int = Field(2, ge=1, description="number of checkpoints to keep before the onset")
    after: int = Field(
        1,
        ge=0,
        description="number of checkpoints to save after the onset, before training stops",
    )


class EmbeddedSuite(Strict):
    """Small models that are trained on this machine: the input of the default sweep."""

    source: Literal["embedded"] = Field(description="trained on this machine")
    vocabulary: int = Field(
        512,
        ge=261,
        description="vocabulary size of the byte-level BPE, including 5 special tokens and 256 "
        "bytes",
    )
    document_length: int = Field(64, ge=8, description="tokens per training document")
    batch_size: int = Field(32, ge=1, description="documents per step")
    steps: list[Annotated[int, Field(ge=0)]] = Field(
        min_length=1,
        description="steps at which a checkpoint is saved; training stops at the last step",
    )
    logging_steps: int = Field(8, ge=1, description="steps between two logged losses")
    probe: ProbeConfig | None = Field(
        None,
        description="measure some layers during training, and write the results to "
        "`probe.parquet` in the folder of the run",
    )
    onset: OnsetConfig | None = Field(
        None,
        description="besides the checkpoints at `steps`, keep checkpoints around the first "
        "explosion of the logged loss, and then stop training",
    )
    runs: dict[Name, TrainedRun] = Field(min_length=1, description="runs by name")

    def with_run(self, run: str) -> "EmbeddedSuite":
        """Return a copy of the suite that contains only one run."""
        return self.model_copy(update={"runs": {run: self.runs[run]}})


class LocalRun(Strict):
    """A run on this machine: a folder of checkpoints, or one checkpoint."""

    path: AnyPath = Field(
        description="folder of checkpoints, such as a Trainer's output folder; or folder of one "
        "checkpoint, with a `config.json`; here and in all other paths of the configuration, `~` "
        "and defined variables such as `$HOME` are expanded"
    )
    seed: int | None = Field(None, description="seed of the run, for the tables")
    losses: AnyPath | None = Field(
        None,
        description="log of a run that was not trained with a Trainer: a `.csv`, `.jsonl` or "
        "`.json` file with steps and training losses, such as an export of Weights & Biases or "
        "TensorBoard",
    )
    base: AnyPath | None = Field(
        None,
        description="base model, if the checkpoints are LoRA adapters: a folder, or a commit of a "
        "repository on the Hub, such as `org/name@<the 40 digits of the commit>`; adapters are "
        "merged into the base model, and the base model itself is measured as step 0, unless the "
        "run has a checkpoint of step 0",
    )


def _check_pattern(text: str) -> str:
    if "step" not in re.compile(pattern(text)).groupindex:
        raise ValueError(r"needs a group named step, such as checkpoint-(?P<step>\d+)")
    return text


class LocalSuite(Strict):
    """Checkpoints on this machine in Hugging Face format, such as a Trainer's output folder."""

    source: Literal["local"] = Field(description="folders on this machine")
    runs: dict[Name, LocalRun] = Field(
        min_length=1,
        description="runs by name; a run can also be just a path, such as "
        "`{my-run: path/to/folder}`",
    )
    pattern: Annotated[str, AfterValidator(_check_pattern)] = Field(
        r"checkpoint-(?P<step>\d+)",
        description="regular expression for the names of checkpoint folders, with a group `step`; "
        "each step must have one folder",
    )
    tokens_per_step: int | None = Field(
        None, gt=0, description="tokens per training step, to compute the tokens of each checkpoint"
    )

    base: AnyPath | None = Field(
        None, description="base model of all runs that do not have a `base`"
    )
    accept: list[Literal["same_step_as", "discontinuous"]] = Field(
        [], description="flags that do not exclude a checkpoint from the results"
    )

    def base_of(self, run: str) -> str | None:
        """Return a run's base model, a path or `org/name@commit`; None if there is no base."""
        return self.runs[run].base or self.base

    @property
    def bases_on_hub(self) -> list[str]:
        """The base models on the Hub, each as `org/name@commit`."""
        bases = {base for run in self.runs if (base := self.base_of(run))}
        return sorted(base for base in bases if re.fullmatch(ON_HUB, base))

    @field_validator("runs", mode="before", json_schema_input_type=dict[Name, str | LocalRun])
    @classmethod
    def _expand_paths(cls, runs: Any) -> Any:
        if not isinstance(runs, dict):
            return runs
        return {
            name: run if isinstance(run, dict | LocalRun) else {"path": run}
            for name, run in runs.items()
        }


#: The key `source` selects the kind of suite.
AnySuite = EmbeddedSuite | LocalSuite | HubSuite
Suite = Annotated[AnySuite, Field(discriminator="source")]
SUITE: TypeAdapter[AnySuite] = TypeAdapter(Suite)


def checkpoint_folder(results: str | Path, suite: str, run: str) -> Path:
    """Return the folder of a trained run. The folder is laid out like a Trainer's output folder."""
    return Path(results) / "checkpoints" / suite / run
