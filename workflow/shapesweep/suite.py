"""The suite: who is measured. A YAML file, or a mapping in the configuration, validated.

Takes in a suite's definition; hands on its runs. Nothing is read from a
checkpoint here.
"""

import re
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, field_validator

#: A name that is safe as one component of a path.
NAME = r"^[A-Za-z0-9][A-Za-z0-9._-]{0,119}$"
Name = Annotated[str, Field(pattern=NAME)]


class Strict(BaseModel):
    """Unknown keys are errors: a misspelt key must not be silently ignored."""

    model_config = ConfigDict(extra="forbid")


class TrainedRun(Strict):
    """One run of an embedded suite: what is trained."""

    model: dict[str, Any]
    learning_rate: float = Field(gt=0)
    warmup_steps: int = Field(0, ge=0)
    weight_decay: float = Field(0.1, ge=0)
    adam_beta2: float = Field(0.999, gt=0, lt=1)
    max_grad_norm: float = Field(1.0, ge=0)
    masked_share: float = Field(0.15, gt=0, lt=1)
    seed: int = Field(0, ge=0)

    @field_validator("model")
    @classmethod
    def _has_a_type(cls, model):
        if "model_type" not in model:
            raise ValueError("needs the key model_type, as in transformers' config.json")
        return model


class EmbeddedSuite(Strict):
    """Small models, really trained on the spot: the default sweep's input."""

    source: Literal["embedded"]
    vocabulary: int = Field(512, ge=261)
    document_length: int = Field(64, ge=8)
    batch_size: int = Field(32, ge=1)
    steps: list[Annotated[int, Field(ge=0)]] = Field(min_length=1)
    logging_steps: int = Field(8, ge=1)
    runs: dict[Name, TrainedRun] = Field(min_length=1)


class LocalRun(Strict):
    """One run that lies in a folder: a folder of checkpoints, or one checkpoint."""

    path: str
    seed: int | None = None


class LocalSuite(Strict):
    """Checkpoints in Hugging Face format on this machine; a Trainer's output folder fits."""

    source: Literal["local"]
    runs: dict[Name, LocalRun] = Field(min_length=1)
    pattern: str = r"checkpoint-(?P<step>\d+)"
    tokens_per_step: int | None = Field(None, gt=0)

    @field_validator("runs", mode="before")
    @classmethod
    def _path_alone(cls, runs):
        if not isinstance(runs, dict):
            return runs
        return {k: {"path": v} if isinstance(v, str) else v for k, v in runs.items()}

    @field_validator("pattern")
    @classmethod
    def _yields_the_step(cls, pattern):
        try:
            groups = re.compile(pattern).groupindex
        except re.error as error:
            raise ValueError(f"is no regular expression: {error}") from None
        if "step" not in groups:
            raise ValueError(r"needs a group named step, such as checkpoint-(?P<step>\d+)")
        return pattern


class HubSuite(BaseModel):
    """A suite published on the Hub. Its place is kept; this version cannot fetch it."""

    model_config = ConfigDict(extra="allow")
    source: Literal["hub"]


Suite = Annotated[EmbeddedSuite | LocalSuite | HubSuite, Field(discriminator="source")]
SUITE = TypeAdapter(Suite)


def checkpoint_folder(results, suite, run):
    """Where an embedded suite's run is trained to: a Trainer's output folder."""
    return Path(results) / "checkpoints" / suite / run
