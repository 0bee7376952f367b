"""The settings of a measurement, which determine the numbers that a job computes.

The settings of each suite are written to a file whose name is the digest of its contents. Jobs read
only this file, so other changes of the configuration do not affect the jobs.
"""

from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import Field, model_validator

from shapesweep.config import yaml_file
from shapesweep.corpora import (
    CORPORA,
    CorpusConfig,
    CorpusLabel,
    LastConfig,
    PassagesConfig,
    read_text,
    text_sha256,
)
from shapesweep.validation import OneOf, Strict, validated


class GeometryConfig(Strict):
    """Settings of the metrics of point clouds."""

    n_points: int = Field(
        4096,
        ge=16,
        description="number N of points for every ID estimate; estimates from fewer points are "
        "flagged",
    )
    groups: int = Field(
        16,
        ge=2,
        description="number of groups of documents; the jackknife leaves out one group at a time",
    )


CorpusName = Annotated[str, OneOf("corpus", tuple(CORPORA))]


class Loader(Strict):
    """Settings for loading checkpoints."""

    ignored_weights: list[str] = Field(
        [], description="regular expressions for names of weights that the model may leave unused"
    )
    remote_code: bool = Field(False, description="whether to run code from the repository")


class Measurement(Strict):
    """How the checkpoints of a suite are measured.

    Except for `loader`, every setting has the name of its key in the configuration.
    """

    corpora: list[CorpusName] = Field(min_length=1)
    corpus: CorpusConfig = CorpusConfig()
    geometry: GeometryConfig = GeometryConfig()
    loader: Loader = Loader()
    # `device` and `batch_tokens` do not affect the numbers, so the settings file lacks them.
    device: Literal["auto", "cpu", "cuda"] = Field("auto", exclude=True)
    batch_tokens: int = Field(4096, ge=1, exclude=True)
    # Folder of the texts that were fetched.
    text_folder: str = Field("", exclude=True)
    # Digests of the user's text files, by text. The digests come from the manifest. A file that has
    # no digest is not checked.
    text_sha256: dict[str, str] = Field({}, exclude=True)

    @model_validator(mode="after")
    def _without_unused_keys(self) -> "Measurement":
        poolings = {CORPORA[name].pooling for name in self.corpora}
        defaults = {"last": LastConfig(), "passages": PassagesConfig()}
        unused = {name: default for name, default in defaults.items() if name not in poolings}
        self.corpus = self.corpus.model_copy(update=unused)
        return self

    def read_texts(self) -> dict[str, str]:
        """Return the contents of all texts, by text.

        Raises
        ------
        ShapesweepError
            If the file of a text is absent, not UTF-8, or has another digest than in the manifest.
        """
        return {
            text: read_text(text, self.text_folder, self.text_sha256.get(text, ""))
            for text in self.corpus.texts
        }

    def text_digest(self, text: str) -> str:
        """Return the SHA-256 digest of a text, in hexadecimal."""
        return self.text_sha256.get(text) or text_sha256(text, self.text_folder)

    def sha256_of(self, corpus: str) -> str:
        """Return the SHA-256 digest of the text of a corpus with a given name."""
        return self.text_digest(self.corpus.variant(CorpusLabel.parse(corpus).variant).text)

    @property
    def for_budget(self) -> "Measurement":
        """The settings on which a dimension budget depends; unused settings have their defaults."""
        groups = GeometryConfig(groups=self.geometry.groups)
        corpus = self.corpus.model_copy(update={"samples": 1, "variants": {}})
        fields = {**dict(self), "corpora": ["text"], "corpus": corpus, "geometry": groups}
        return Measurement.model_validate(fields)


def as_yaml(settings: Measurement) -> str:
    """Return the contents of a settings file for `load`."""
    return yaml.safe_dump(settings.model_dump(), sort_keys=False)


def load(path: str | Path, **more: Any) -> Measurement:
    """Read the settings of measurements from a settings file or a complete configuration.

    Parameters
    ----------
    path : path-like
    **more
        Values of `device` and `batch_tokens`.

    Raises
    ------
    ShapesweepError
        If the file is absent or not valid.
    """
    raw = yaml_file.read_settings(path)
    fields = {key: value for key, value in raw.items() if key in Measurement.model_fields}
    return validated(Measurement.model_validate, {**fields, **more}, path)
