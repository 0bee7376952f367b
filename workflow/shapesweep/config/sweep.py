"""The configuration of a sweep, and its validation.

The descriptions of keys also appear in the reference (`config/README.md`) and in the schemas for
editors (`workflow/schemas/`). `make docs` writes both.
"""

import hashlib
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field, ValidationInfo, field_validator, model_validator

from shapesweep.config import names
from shapesweep.config.hub_suite import HubSuite
from shapesweep.config.measurement import CorpusName, GeometryConfig, Loader, Measurement
from shapesweep.config.registry import REGISTRY, Suites
from shapesweep.config.suite import Name
from shapesweep.corpora import CORPORA, CorpusConfig, expand, language
from shapesweep.errors import near
from shapesweep.metrics import METRICS, NeighborMetric
from shapesweep.storage.selections import SELECTIONS, SUBSAMPLES
from shapesweep.validation import OneOf, Strict, at, output_folder

MetricName = Annotated[str, OneOf("metric", tuple(METRICS))]
SelectionName = Annotated[str, OneOf("selection", (*SELECTIONS, *SUBSAMPLES, *SUBSAMPLES.values()))]
#: Regular expression for names of folders in `scratch`.
SCRATCH_NAME = "shapesweep-[0-9a-f]{16}"


class Every(Strict):
    """Every n-th checkpoint of a run, starting with the first."""

    every: int = Field(ge=1, description="every n-th checkpoint of a run, starting with the first")


class Steps(Strict):
    """The checkpoints at the listed steps."""

    steps: Annotated[list[int | str], AfterValidator(names.steps)] = Field(
        min_length=1,
        description="the checkpoints at the listed steps, such as `[0, 1000..5000 by 1000]`, or "
        "numbers of tokens, such as `[500B, 1T]`",
    )


class Log(Strict):
    """At most n checkpoints of a run, evenly spaced in log(step), including the first and last."""

    log: int = Field(
        ge=2, le=100_000, description="at most n checkpoints per run, evenly spaced in log(step)"
    )


Selection = Every | Steps | Log


class BudgetConfig(Strict):
    """The dimension budget: how many dimensions of a layer a model needs."""

    checkpoints: dict[str, Literal["last", "all"] | Selection] = Field(
        {"embedded": "last"},
        description="for each suite, a rule that selects checkpoints of every run; only these "
        "checkpoints get dimension budgets; a layer with d dimensions takes about 2·log₂(d) "
        "forward passes over the text, and all layers of a checkpoint usually take 100 to 1000 "
        "passes",
        examples=["{embedded: last}", "{pythia: {steps: [512, 143000]}}"],
    )
    rise: float = Field(0.01, gt=0, description="maximum relative increase of the loss")


class HubConfig(Strict):
    """Limits for downloads from the Hub."""

    downloads: int = Field(
        2,
        ge=1,
        description="maximum number of concurrent downloads; also the maximum number of concurrent "
        "requests of each job that lists a suite",
    )
    disk_gb: float = Field(
        100,
        gt=0,
        description="disk space for all checkpoints from the Hub while they are measured, "
        "including their shards, in GB (10⁹ bytes)",
    )
    remote_code: list[Name] = Field(
        [],
        description="suites that may run code from the Hub; the definition of each of these "
        "suites must also set `remote_code`",
    )


class SpikesConfig(Strict):
    """Suites and corpora of `snakemake spikes`."""

    suites: Suites = Field(
        {},
        description="suites in which `snakemake spikes` looks for warnings of explosions, in "
        "the same form as the key `suites`",
        examples=["[unstable]", "{mine: {source: local, runs: {a: path/a, b: path/b}}}"],
    )
    corpora: list[CorpusName] = Field(
        ["text"], min_length=1, description="corpora on which these suites are measured"
    )


class TestedCurve(Strict):
    """A curve over training: a metric of a selection of tokens, averaged over the middle blocks."""

    corpus: CorpusName = Field(description="corpus of the curve")
    selection: SelectionName = Field(
        description="selection or subsample of tokens, such as `no_first` or `one_per_document`"
    )
    metric: MetricName = Field(description="metric with a single k, such as `id_twonn`")

    @model_validator(mode="after")
    def _check_scale(self) -> "TestedCurve":
        if len(getattr(METRICS[self.metric], "k", (0,))) > 1:
            raise ValueError(f"{self.metric} has several values of k; choose another metric")
        return self

    @model_validator(mode="after")
    def _check_selection(self) -> "TestedCurve":
        is_subsample = self.selection in {*SUBSAMPLES, *SUBSAMPLES.values()}
        pooling = CORPORA[self.corpus].pooling
        if pooling == "passages" and not is_subsample:
            names = ", ".join(SUBSAMPLES)
            raise ValueError(f"{self.corpus} has no selection {self.selection}; use one of {names}")
        if pooling == "last" and is_subsample:
            raise ValueError(f"{self.corpus} has no subsamples; use a selection such as `all`")
        metric = METRICS[self.metric]
        if is_subsample and not (isinstance(metric, NeighborMetric) and metric.of_subsamples):
            raise ValueError(f"{self.metric} is not measured on the subsample {self.selection}")
        return self


class PhasesConfig(Strict):
    """The two curves on which the claim of two phases is tested. All other curves are described."""

    paper: TestedCurve = Field(
        TestedCurve(corpus="text", selection="no_first", metric="id_twonn"),
        description="the curve of the paper's claim",
    )
    control: TestedCurve = Field(
        TestedCurve(corpus="passages", selection="one_per_document", metric="id_twonn"),
        description="its control, with at most one token per document",
    )


def _check_corpora(corpora: list[str]) -> list[str]:
    if not corpora or len(set(corpora)) < len(corpora):
        raise ValueError("name at least one corpus, and no corpus twice")
    return corpora


class Config(Strict):
    """The configuration of a sweep."""

    results: str = Field("results", min_length=1, description="folder of all results")
    suites: Suites = Field(
        description="suites to measure: names of suites in the registry, names with keys that "
        "override the registry, or full definitions",
        examples=[
            "[embedded]",
            "{pythia: {only: [pythia-70m]}}",
            "{mine: {source: local, runs: {my-run: path}}}",
        ],
    )
    checkpoints: Literal["all"] | Selection = Field(
        "all",
        description="rule that selects the checkpoints to measure from every run",
        examples=["all", "{every: 4}", "{steps: [0, 512]}", "{log: 20}"],
    )
    corpora: Annotated[list[CorpusName], AfterValidator(_check_corpora)] = Field(
        ["text", "random", "shuffled", "last", "passages"],
        description="corpora on which the models are measured",
    )
    corpus: CorpusConfig = Field(
        CorpusConfig(), description="text, and how the text is cut into documents"
    )
    geometry: GeometryConfig = Field(GeometryConfig(), description="settings of the metrics")
    phases: PhasesConfig = Field(
        PhasesConfig(),
        description="curves on which the claim of two phases is tested: averages over the middle "
        "blocks, during training",
    )
    budget: BudgetConfig = Field(
        BudgetConfig(),
        description="dimension budgets: how many dimensions of a layer a model needs",
    )
    spikes: SpikesConfig = Field(
        SpikesConfig(), description="input of `snakemake spikes`; other targets do not use it"
    )
    hub: HubConfig = Field(HubConfig(), description="limits for downloads from the Hub")
    keep_activations: bool = Field(
        False, description="whether to keep the shards after they are measured"
    )
    scratch: str | None = Field(
        None,
        min_length=1,
        description="folder for downloads and shards until they are measured, such as the local "
        "disk of each node of a cluster (default: inside `results`)",
        examples=["/scratch/me"],
    )
    device: Literal["auto", "cpu", "cuda"] = Field(
        "auto",
        description="device that runs the models; `auto` selects CUDA if there is a GPU, and "
        "then runs one job per GPU",
    )
    checkpoints_per_job: Literal["auto"] | Annotated[int, Field(ge=1)] = Field(
        "auto",
        description="maximum number of checkpoints of a run per job; `auto` selects as many as "
        "one core measures in about 30 minutes, but at most 8",
    )
    batch_tokens: int = Field(
        4096,
        ge=1,
        description="tokens per forward pass; a larger number is faster, but needs more memory",
    )

    def measurement(self, suite: str) -> Measurement:
        """Return the settings for measuring the checkpoints of a suite."""
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
        """The configuration of `snakemake spikes`; it may have no suites."""
        none: dict[str, Any] = {"spikes": SpikesConfig(), "budget": BudgetConfig(checkpoints={})}
        none["corpus"] = self.corpus.variant("")
        return self.model_copy(update={**none, **dict(self.spikes)})

    def scratch_folder(self, results: str | Path) -> str | None:
        """Return the folder of temporary files in `scratch`; None if `scratch` is not set."""
        if self.scratch is None:
            return None
        own = hashlib.sha256(str(Path(results).resolve()).encode()).hexdigest()
        return str(Path(self.scratch, f"shapesweep-{own[:16]}"))

    @field_validator("results", "scratch")
    @classmethod
    def _normalize_path(cls, path: str | None) -> str | None:
        return None if path is None else output_folder(path)

    @field_validator("scratch")
    @classmethod
    def _check_scratch(cls, path: str | None) -> str | None:
        if path is not None and (not path.startswith("/") or "$" in path):
            raise ValueError(
                "must be an absolute path, the same on every node; its variables must be defined"
            )
        return path

    @model_validator(mode="after")
    def _check_budget(self, info: ValidationInfo) -> "Config":
        registry = Path((info.context or {}).get("registry", REGISTRY))
        known = {*self.suites, *BudgetConfig().checkpoints}
        known |= {path.stem for path in registry.glob("*.yaml")}
        requested = self.budget.checkpoints
        for name in requested:
            if name not in known:
                where = ["budget", "checkpoints", name]
                raise at(where, f"there is no such suite{near(name, known)}")
        # The default of `budget` names the suite `embedded`, which the configuration may lack.
        mine = {name: rule for name, rule in requested.items() if name in self.suites}
        self.budget = self.budget.model_copy(update={"checkpoints": mine})
        return self

    @model_validator(mode="after")
    def _check_variants(self) -> "Config":
        made = {label.variant for label, _ in expand(self.corpora, self.corpus)}
        for name in self.corpus.variants:
            if name not in made:
                raise at(
                    ["corpus", "variants", name],
                    "its documents are those of another variant or of `corpus`; with the sampling "
                    "`paper`, only `text` and `sampling` change the documents of a text",
                )
        return self

    @model_validator(mode="after")
    def _check_phases(self) -> "Config":
        for role, standard in PhasesConfig():
            curve = getattr(self.phases, role)
            # Without the corpus of the default curve, the claim is not tested.
            if curve != standard and curve.corpus not in self.corpora:
                where = ["phases", role, "corpus"]
                raise at(where, f"`corpora` does not contain {curve.corpus}")
        return self

    @model_validator(mode="after")
    def _check_suites(self) -> "Config":
        for name, suite in self.spikes.suites.items():
            if self.suites.get(name, suite) != suite:
                raise at(["suites", name], "spikes.suites has a different suite of this name")
        for name, suite in [*self.suites.items(), *self.for_spikes.suites.items()]:
            if not isinstance(suite, HubSuite):
                continue
            if not suite.repositories:
                advice = f"names no repositories; write {{{name}: {{repositories: [org/name]}}}}"
                raise at(["suites", name], advice)
            if suite.remote_code and name not in self.hub.remote_code:
                raise at(
                    ["suites", name],
                    "needs code from its repositories: read the code, and if you trust it, write "
                    f"hub: {{remote_code: [{name}]}}",
                )
            foreign = suite.languages() - {"English"}
            if foreign and language(self.corpus.text) == "English":
                languages = ", ".join(sorted(foreign))
                raise at(
                    ["suites", name],
                    f"was trained on another language ({languages}) than corpus.text, "
                    f"{self.corpus.text}, which is English; set corpus.text to a text in the "
                    "language of the models, such as a file",
                )
        return self
