"""How checkpoints are measured: what a job needs to know of a configuration.

Each suite has its own file of these settings, named by what it holds: a job reads no more than what
its numbers depend on, so that no other change of the configuration concerns it.
"""

from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import AfterValidator, Field, ValidationError, WithJsonSchema, model_validator

from shapesweep.config import yaml_file
from shapesweep.corpora import CORPORA, CorpusConfig, LastConfig
from shapesweep.errors import ShapesweepError, near
from shapesweep.validation import Strict, explain


class GeometryConfig(Strict):
    """How the clouds are measured."""

    n_points: int = Field(
        4096, ge=16, description="N of every ID estimate; a shortfall is flagged, not hidden"
    )
    groups: int = Field(
        16, ge=2, description="groups of documents that the jackknife leaves out in turn"
    )


def _known_corpus(name: str) -> str:
    if name not in CORPORA:
        raise ValueError(f"there is no such corpus{near(name, CORPORA)}")
    return name


CorpusName = Annotated[
    str,
    AfterValidator(_known_corpus),
    WithJsonSchema({"type": "string", "enum": list(CORPORA)}),
]


class Loader(Strict):
    """What the loader of a suite's checkpoints is allowed."""

    ignored_weights: list[str] = Field(
        [], description="regular expressions of weights that may have no place in the model"
    )
    remote_code: bool = Field(False, description="whether to run code from the repository")


class Measurement(Strict):
    """How the checkpoints of a suite are measured; the fields are those of the configuration."""

    corpora: list[CorpusName] = Field(min_length=1)
    corpus: CorpusConfig = CorpusConfig()
    geometry: GeometryConfig = GeometryConfig()
    loader: Loader = Loader()
    # Numbers do not depend on these, which are not in the file.
    device: Literal["auto", "cpu", "cuda"] = Field("auto", exclude=True)
    batch_tokens: int = Field(4096, ge=1, exclude=True)
    # Of the file `corpus.text`, as the manifest has it; empty if it is not checked.
    text_sha256: str = Field("", exclude=True)

    @model_validator(mode="after")
    def _without_what_no_corpus_reads(self) -> "Measurement":
        if all(CORPORA[name].pooling != "last" for name in self.corpora):
            self.corpus = self.corpus.model_copy(update={"last": LastConfig()})
        return self

    @property
    def for_budget(self) -> "Measurement":
        """What a dimension budget depends on: the text and its groups of documents."""
        groups = GeometryConfig(groups=self.geometry.groups)
        fields = {**dict(self), "corpora": ["text"], "geometry": groups}
        return Measurement.model_validate(fields)


def as_yaml(settings: Measurement) -> str:
    """The text of a settings file; `load` reads it."""
    return yaml.safe_dump(settings.model_dump(), sort_keys=False)


def load(path: str | Path, **more: Any) -> Measurement:
    """Read a settings file; of a whole configuration, what concerns measuring.

    Parameters
    ----------
    path : path-like
    **more
        `device` and `batch_tokens`.

    Raises
    ------
    ShapesweepError
        If the file is absent or not valid.
    """
    raw = yaml_file.read_settings(path)
    fields = {key: value for key, value in raw.items() if key in Measurement.model_fields}
    try:
        return Measurement.model_validate({**fields, **more})
    except ValidationError as error:
        key, message = explain(error, fields, Measurement)
        raise ShapesweepError(f"{path}: {'.'.join(key)}: {message}") from None
