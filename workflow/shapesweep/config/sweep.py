"""The configuration of a sweep: read, merged with the defaults, validated in one place.

The fields' descriptions are also the reference (`config/README.md`) and the editors'
help (`workflow/schemas/`); `make docs` writes both.
"""

import hashlib
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import (
    Field,
    ValidationInfo,
    field_validator,
    model_validator,
)

from shapesweep.config.hub_suite import HubSuite
from shapesweep.config.measurement import CorpusName, GeometryConfig, Loader, Measurement
from shapesweep.config.registry import REGISTRY, Suites
from shapesweep.config.suite import Name
from shapesweep.corpora import CorpusConfig
from shapesweep.errors import near
from shapesweep.validation import Strict, at, output_folder

#: Names of the folders in `scratch`.
SCRATCH_NAME = "shapesweep-[0-9a-f]{16}"


class Every(Strict):
    """Every n-th checkpoint of a run, from its first on."""

    every: int = Field(ge=1, description="every n-th checkpoint of a run, from its first on")


class Steps(Strict):
    """The checkpoints at these steps."""

    steps: list[int] = Field(min_length=1, description="the checkpoints at these steps")


class Log(Strict):
    """At most so many checkpoints of a run, evenly spaced in log(step), both ends among them."""

    log: int = Field(
        ge=2, le=100_000, description="at most so many a run, evenly spaced in log(step)"
    )


Selection = Every | Steps | Log


class BudgetConfig(Strict):
    """The dimension budget: how many dimensions of a layer a model needs."""

    checkpoints: dict[str, Literal["last", "all"] | Selection] = Field(
        {"embedded": "last"},
        description="by suite, of which checkpoints of every run; some hundred passes over the "
        "text each",
        examples=["{embedded: last}", "{pythia: {steps: [512, 143000]}}"],
    )
    rise: float = Field(0.01, gt=0, description="of the loss, relative, that is allowed")


class HubConfig(Strict):
    """What may be asked of the Hub, and what may lie on the disk of it."""

    downloads: int = Field(2, ge=1, description="downloads at a time, and calls for a listing")
    disk_gb: float = Field(
        100,
        gt=0,
        description="what all checkpoints of the Hub may fill at once while they are measured, "
        "their shards among it, in GB (10⁹ bytes)",
    )
    remote_code: list[Name] = Field(
        [], description="suites whose own code may be run here; their files must ask for it too"
    )


class SpikesConfig(Strict):
    """What `snakemake spikes` trains and scores, beside the sweep."""

    suites: Suites = Field(
        {},
        description="suites whose runs are asked what warned of their explosions, as `suites`",
        examples=["[unstable]", "{mine: {source: local, runs: {a: path/a, b: path/b}}}"],
    )
    corpora: list[CorpusName] = Field(
        ["text"], min_length=1, description="what is shown to their checkpoints"
    )


class Config(Strict):
    """A whole sweep."""

    results: str = Field(
        "results", min_length=1, description="the folder for everything that a run makes"
    )
    suites: Suites = Field(
        description="suites of the registry by name, such names with the keys that differ, or full "
        "definitions",
        examples=[
            "[embedded]",
            "{pythia: {only: [pythia-70m]}}",
            "{mine: {source: local, runs: {my-run: path}}}",
        ],
    )
    checkpoints: Literal["all"] | Selection = Field(
        "all",
        description="which checkpoints of every run",
        examples=["all", "{every: 4}", "{steps: [0, 512]}", "{log: 20}"],
    )
    corpora: list[CorpusName] = Field(
        ["text", "random", "shuffled", "last"],
        description="what is shown to the models",
    )
    corpus: CorpusConfig = Field(CorpusConfig(), description="the text and its documents")
    geometry: GeometryConfig = Field(GeometryConfig(), description="how the clouds are measured")
    budget: BudgetConfig = Field(
        BudgetConfig(), description="how many dimensions a model needs, where it is asked for"
    )
    spikes: SpikesConfig = Field(
        SpikesConfig(), description="what `snakemake spikes` trains and scores; nothing else does"
    )
    hub: HubConfig = Field(HubConfig(), description="the Hub, and the disk that it may fill")
    keep_activations: bool = Field(
        False, description="keep the shards; else they are removed once they are measured"
    )
    scratch: str | None = Field(
        None,
        min_length=1,
        description="a folder for what is removed once it is measured, downloads and shards: on a "
        "cluster, a disk of each node's own; without it they lie in `results`",
        examples=["/scratch/me"],
    )
    device: Literal["auto", "cpu", "cuda"] = Field(
        "auto", description="`auto`: CUDA where there is a GPU, one job a GPU"
    )
    checkpoints_per_job: Literal["auto"] | Annotated[int, Field(ge=1)] = Field(
        "auto",
        description="checkpoints of a run that go through a job together, at most; `auto`: as many "
        "as keep a core busy for some minutes, 8 at most",
    )
    batch_tokens: int = Field(
        4096, ge=1, description="tokens of a forward pass: memory against speed"
    )

    def measurement(self, suite: str) -> Measurement:
        """How the checkpoints of a suite are measured."""
        definition = self.suites.get(suite)
        loader = Loader()
        if isinstance(definition, HubSuite):
            code = definition.remote_code and suite in self.hub.remote_code
            loader = Loader(ignored_weights=definition.ignored_weights, remote_code=code)
        return Measurement(
            corpora=self.corpora,
            corpus=self.corpus,
            geometry=self.geometry,
            loader=loader,
            device=self.device,
            batch_tokens=self.batch_tokens,
        )

    @property
    def for_spikes(self) -> "Config":
        """The sweep of the suites that `snakemake spikes` is about; it may have none."""
        none: dict[str, Any] = {"spikes": SpikesConfig(), "budget": BudgetConfig(checkpoints={})}
        return self.model_copy(update={**none, **dict(self.spikes)})

    def scratch_folder(self, results: str | Path) -> str | None:
        """The folder in `scratch` for the temporary files of these results; None without it."""
        if self.scratch is None:
            return None
        own = hashlib.sha256(str(Path(results).resolve()).encode()).hexdigest()
        return str(Path(self.scratch, f"shapesweep-{own[:16]}"))

    @field_validator("scratch")
    @classmethod
    def _the_same_everywhere(cls, path: str | None) -> str | None:
        if path is not None and (not path.startswith("/") or "$" in path):
            raise ValueError(
                "is taken as it is written, on every node: begin with '/', and use no variables"
            )
        return path

    @field_validator("results", "scratch")
    @classmethod
    def _one_way_to_write_it(cls, path: str | None) -> str | None:
        return None if path is None else output_folder(path)

    @model_validator(mode="after")
    def _budgets_what_there_is(self, info: ValidationInfo) -> "Config":
        registry = Path((info.context or {}).get("registry", REGISTRY))
        known = {*self.suites, *BudgetConfig().checkpoints}
        known |= {path.stem for path in registry.glob("*.yaml")}
        asked = self.budget.checkpoints
        for name in asked:
            if name not in known:
                raise at(
                    ["budget", "checkpoints", name], f"there is no such suite{near(name, known)}"
                )
        # The default sweep's is laid under every configuration, whose suites are others.
        mine = {name: rule for name, rule in asked.items() if name in self.suites}
        self.budget = self.budget.model_copy(update={"checkpoints": mine})
        return self

    @model_validator(mode="after")
    def _can_be_loaded(self) -> "Config":
        for name, suite in self.spikes.suites.items():
            if self.suites.get(name, suite) != suite:
                raise at(["suites", name], "spikes.suites has another suite of this name")
        for name, suite in [*self.suites.items(), *self.for_spikes.suites.items()]:
            if not isinstance(suite, HubSuite):
                continue
            if not suite.repositories:
                advice = f"names no repositories; write {{{name}: {{repositories: [org/name]}}}}"
                raise at(["suites", name], advice)
            if suite.not_loadable:
                raise at(["suites", name], f"cannot be measured: {suite.not_loadable}")
            if suite.remote_code and name not in self.hub.remote_code:
                raise at(
                    ["suites", name],
                    "needs code from its repositories: read it, and if you trust it write "
                    f"hub: {{remote_code: [{name}]}}",
                )
        return self

    @field_validator("corpora")
    @classmethod
    def _some_and_once(cls, corpora: list[str]) -> list[str]:
        if not corpora or len(set(corpora)) < len(corpora):
            raise ValueError("needs at least one corpus, each named once")
        return corpora
