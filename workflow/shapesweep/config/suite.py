"""The suite: who is measured. A YAML file, or a mapping in the configuration, validated.

Takes in a suite's definition; hands on its runs. Nothing is read from a
checkpoint here. The fields' descriptions are also the reference and the editors' help.
"""

import re
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, TypeAdapter, field_validator

from shapesweep.config.hub_suite import HubSuite
from shapesweep.validation import AnyPath, Strict, pattern

#: A name that is safe as one component of a path.
NAME = r"^[A-Za-z0-9][A-Za-z0-9._-]{0,119}$"
Name = Annotated[str, Field(pattern=NAME)]


#: In the folder of a trained run, its recipe.
RECIPE = "recipe.json"


class TrainedRun(Strict):
    """One run of an embedded suite: what is trained."""

    model: dict[str, Any] = Field(
        description="the model's shape, as in transformers' `config.json`; `model_type` is required"
    )
    learning_rate: float = Field(gt=0, description="of AdamW, constant after the warm-up")
    warmup_steps: int = Field(0, ge=0, description="steps until the full learning rate")
    weight_decay: float = Field(0.1, ge=0, description="of AdamW")
    adam_beta1: float = Field(0.9, ge=0, lt=1, description="of AdamW")
    adam_beta2: float = Field(0.999, gt=0, lt=1, description="of AdamW")
    adam_epsilon: float = Field(1e-8, gt=0, description="of AdamW")
    max_grad_norm: float = Field(1.0, ge=0, description="gradients are clipped to this norm")
    masked_share: float = Field(
        0.15, gt=0, lt=1, description="share of tokens that an encoder has to guess"
    )
    seed: int = Field(0, ge=0, lt=2**32, description="of the weights and of the order of documents")

    @field_validator("model")
    @classmethod
    def _has_a_type(cls, model: dict[str, Any]) -> dict[str, Any]:
        if "model_type" not in model:
            raise ValueError("needs the key model_type, as in transformers' config.json")
        return model


class ProbeConfig(Strict):
    """What is measured while a run is trained."""

    every: int = Field(50, ge=1, description="steps from one measurement to the next")
    documents: int = Field(
        16, ge=2, description="documents of the held-out text that are measured each time"
    )


class OnsetConfig(Strict):
    """Checkpoints around the onset of a loss explosion alone."""

    every: int = Field(8, ge=1, description="steps between two checkpoints")
    before: int = Field(2, ge=1, description="checkpoints that are kept before the onset")
    after: int = Field(1, ge=0, description="checkpoints after it; there the training ends")


class EmbeddedSuite(Strict):
    """Small models, really trained on the spot: the default sweep's input."""

    source: Literal["embedded"] = Field(description="trained on the spot")
    vocabulary: int = Field(
        512, ge=261, description="entries of the byte-level BPE, 5 special ones and 256 bytes among"
    )
    document_length: int = Field(64, ge=8, description="tokens a training document")
    batch_size: int = Field(32, ge=1, description="documents a step")
    steps: list[Annotated[int, Field(ge=0)]] = Field(
        min_length=1, description="steps at which a checkpoint is saved; the last ends the training"
    )
    logging_steps: int = Field(8, ge=1, description="steps between two losses in the log")
    probe: ProbeConfig | None = Field(
        None, description="measure some layers while training, to the run's `probe.parquet`"
    )
    onset: OnsetConfig | None = Field(
        None,
        description="keep, besides those of `steps`, the checkpoints around the first explosion of "
        "the logged loss, and end the training there",
    )
    runs: dict[Name, TrainedRun] = Field(min_length=1, description="what is trained, by name")

    def with_run(self, run: str) -> "EmbeddedSuite":
        """The suite with one of its runs alone: all that the run's checkpoints depend on."""
        return self.model_copy(update={"runs": {run: self.runs[run]}})


class LocalRun(Strict):
    """One run that lies in a folder: a folder of checkpoints, or one checkpoint."""

    path: AnyPath = Field(
        description="a folder of checkpoints (Trainer's output), or one checkpoint (`config.json`)"
    )
    seed: int | None = Field(None, description="the run's seed, for the tables")
    losses: AnyPath | None = Field(
        None,
        description="its log, if not the Trainer's own: a `.csv`, or a `.jsonl` with an object a "
        "line, with a column of steps and one of losses",
    )


class LocalSuite(Strict):
    """Checkpoints in Hugging Face format on this machine; a Trainer's output folder fits."""

    source: Literal["local"] = Field(description="folders on this machine")
    runs: dict[Name, LocalRun] = Field(
        min_length=1, description="runs by name; a path alone will do: `{my-run: path/to/folder}`"
    )
    pattern: str = Field(
        r"checkpoint-(?P<step>\d+)",
        description="regular expression of the checkpoints' folder names, with a group `step`",
    )
    tokens_per_step: int | None = Field(
        None, gt=0, description="tokens that the model saw a step, for the axis of tokens"
    )

    accept: list[Literal["discontinuous"]] = Field(
        [], description="flags that do not exclude a checkpoint"
    )

    @field_validator("runs", mode="before", json_schema_input_type=dict[Name, str | LocalRun])
    @classmethod
    def _path_alone(cls, runs: Any) -> Any:
        if not isinstance(runs, dict):
            return runs
        return {k: {"path": v} if isinstance(v, str) else v for k, v in runs.items()}

    @field_validator("pattern")
    @classmethod
    def _yields_the_step(cls, text: str) -> str:
        if "step" not in re.compile(pattern(text)).groupindex:
            raise ValueError(r"needs a group named step, such as checkpoint-(?P<step>\d+)")
        return text


#: Where the checkpoints of a suite come from decides what is said of it.
AnySuite = EmbeddedSuite | LocalSuite | HubSuite
Suite = Annotated[AnySuite, Field(discriminator="source")]
SUITE: TypeAdapter[AnySuite] = TypeAdapter(Suite)


def checkpoint_folder(results: str | Path, suite: str, run: str) -> Path:
    """Where an embedded suite's run is trained to: a Trainer's output folder."""
    return Path(results) / "checkpoints" / suite / run
