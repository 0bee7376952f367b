"""The configuration of a sweep: read, merged with the defaults, validated in one place."""

from pathlib import Path
from typing import Literal

import yaml
from pydantic import Field, ValidationError, field_validator, model_validator

from shapesweep.errors import ShapesweepError
from shapesweep.suite import SUITE, HubSuite, Name, Strict, Suite

#: Where a suite that is named, not spelt out, is looked for.
REGISTRY = Path("config/suites")


class Every(Strict):
    """Every n-th checkpoint of a run, from its first on."""

    every: int = Field(ge=1)


class Steps(Strict):
    """The checkpoints at these steps."""

    steps: list[int] = Field(min_length=1)


class Log(Strict):
    """At most so many checkpoints of a run, evenly spaced in log(step), both ends among them."""

    log: int = Field(ge=2)


class CorpusConfig(Strict):
    """What text is shown to the models, and how it is cut into documents."""

    text: str = "stdlib"
    sampling: Literal["windows", "paper"] = "windows"
    documents: int = Field(128, ge=2)
    length: int = Field(64, ge=4)
    seed: int = Field(0, ge=0)


class GeometryConfig(Strict):
    """How the clouds are measured."""

    n_points: int = Field(4096, ge=16)
    groups: int = Field(16, ge=2)


class Config(Strict):
    """A whole sweep."""

    results: str = Field("results", min_length=1)
    suites: dict[Name, Suite]
    checkpoints: Literal["all"] | Every | Steps | Log = "all"
    corpora: list[Literal["text", "random", "shuffled"]] = Field(
        default_factory=lambda: ["text", "random", "shuffled"]
    )
    corpus: CorpusConfig = CorpusConfig()
    geometry: GeometryConfig = GeometryConfig()
    keep_activations: bool = False
    device: Literal["auto", "cpu", "cuda"] = "auto"
    batch_tokens: int = Field(4096, ge=1)

    @field_validator("results")
    @classmethod
    def _one_way_to_write_it(cls, results):
        if "{" in results or "}" in results:
            raise ValueError("must not contain braces, which are Snakemake's wildcards")
        return str(Path(results))

    @field_validator("corpora")
    @classmethod
    def _some_and_once(cls, corpora):
        if not corpora or len(set(corpora)) < len(corpora):
            raise ValueError("needs at least one corpus, each named once")
        return corpora

    @model_validator(mode="after")
    def _can_be_done(self):
        for name, suite in self.suites.items():
            if isinstance(suite, HubSuite):
                raise ValueError(
                    f"suite {name!r} has source 'hub', which this version cannot fetch: download "
                    "its revisions and name the folder in a suite with source 'local'"
                )
        return self


def validate(raw, registry=REGISTRY, where="the configuration"):
    """Make a checked `Config` of what YAML gave; suites that are only named are read.

    Parameters
    ----------
    raw : dict
        `suites` is a list of names (files of the registry) or a mapping of name to definition.
    registry : path-like
    where : str
        How an error names the file.

    Returns
    -------
    Config

    Raises
    ------
    ShapesweepError
        One line that names the key, what was found, and what is expected.
    """
    raw = dict(raw)
    suites = raw.get("suites")
    if isinstance(suites, str):
        suites = [suites]
    if isinstance(suites, list):
        suites = {str(name): None for name in suites}
    if not isinstance(suites, dict) or not suites:
        raise ShapesweepError(f"{where}: suites: name at least one suite, such as [embedded]")
    raw["suites"] = {
        name: _named_suite(name, registry) if suite is None else _suite(suite, f"{where}: {name}")
        for name, suite in suites.items()
    }
    try:
        return Config.model_validate(raw)
    except ValidationError as error:
        raise ShapesweepError(f"{where}: {_first(error)}") from None


def load(path):
    """Read a configuration that a run has written beside its results."""
    return validate(_read_yaml(path), where=str(path))


def dump(config, path):
    """Write the merged configuration, suites spelt out, if it is not there already."""
    path = Path(path)
    text = yaml.safe_dump(config.model_dump(exclude_none=True), sort_keys=False)
    if not path.exists() or path.read_text(encoding="utf-8") != text:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")


def _named_suite(name, registry):
    registry = Path(registry).resolve()
    path = registry / f"{name}.yaml"
    known = sorted(p.stem for p in registry.glob("*.yaml"))
    if path.stem not in known:
        raise ShapesweepError(
            f"suites: {name!r} is not a suite: there is no {path}; known are {', '.join(known)}"
        )
    return _suite(_read_yaml(path), str(path))


def _suite(raw, where):
    if not isinstance(raw, dict):
        raise ShapesweepError(f"{where}: a suite is a mapping with the keys source and runs")
    try:
        return SUITE.validate_python(raw)
    except ValidationError as error:
        raise ShapesweepError(f"{where}: {_first(error)}") from None


def _read_yaml(path):
    try:
        raw = yaml.safe_load(Path(path).read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ShapesweepError(f"{path}: no such file") from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ShapesweepError(f"{path}: not YAML: {' '.join(str(error).split())}") from None
    if not isinstance(raw, dict):
        raise ShapesweepError(f"{path}: expected keys and values")
    return raw


def _first(error):
    """The first problem of a validation, in one line: key, what was found, what is wanted."""
    # Where one of several forms would do, the form that was nearly met tells most.
    vague = {"literal_error", "missing", "extra_forbidden", "model_type"}
    problem = min(error.errors(), key=lambda e: (e["type"] in vague, -len(e["loc"])))
    tags = ("Every", "Steps", "Log", "embedded", "local", "hub", "literal['all']")
    key = ".".join(str(part) for part in problem["loc"] if part not in tags)
    if problem["type"] == "extra_forbidden":
        return f"{key}: there is no such key"
    message = problem["msg"].removeprefix("Value error, ")
    message = message[0].lower() + message[1:]
    if not key:
        return message
    if problem["type"] == "missing":
        return f"{key}: this key is required"
    return f"{key}: {message}, found {problem['input']!r}"
