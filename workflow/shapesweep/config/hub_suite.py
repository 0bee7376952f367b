"""The definition of a suite on the Hub: its repositories, and rules to parse names of revisions.

A regular expression extracts the step of a checkpoint from its name. The rules parse only names
that the Hub lists, and never construct the name of a revision.
"""

import math
import re
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field, field_validator, model_validator

from shapesweep.config.names import MOST, expand, number, steps
from shapesweep.validation import AnyPath, Strict, pattern

#: Where the Hub stores a checkpoint, such as in a branch or in a folder.
Mode = Literal["branches", "tags", "refs", "repositories", "folders", "commits"]

#: Name of a repository, or a pattern with `{a,b}`, `{0..9}` and `*` that matches several
#: repositories.
REPOSITORY = r"^[A-Za-z0-9][A-Za-z0-9._-]*/[A-Za-z0-9._{},*-]+$"

_GROUPS = {"step", "tokens", "phase", "run", "seed"}


class PerStep(Strict):
    """Compute the number of tokens of a checkpoint from the number of tokens per step."""

    per_step: float = Field(gt=0, description="tokens per step")


class Each(Strict):
    """Compute the number of tokens of a checkpoint from the tokens between two checkpoints."""

    each: float = Field(gt=0, description="tokens between consecutive checkpoints of a phase")


class Ramp(Strict):
    """A batch size that grows during training, like Megatron's `--rampup-batch-size`."""

    first: int = Field(gt=0, description="samples in the first batch")
    increment: int = Field(gt=0, description="number of samples that each increase adds to a batch")
    over: int = Field(
        gt=0,
        description="number of samples after which the batch size is `last`; each smaller batch "
        "size is used for an equal share of these samples",
    )
    last: int = Field(gt=0, description="samples in the last batch")
    length: int = Field(gt=0, description="tokens per sample")


class Ramped(Strict):
    """Compute the number of tokens of a checkpoint when the batch size grows during training."""

    ramp: Ramp = Field(description="how the batch size grows")


class Table(Strict):
    """Look up the number of tokens of a checkpoint in a table that has a number for each step."""

    table: dict[int, float] = Field(min_length=1, description="tokens by step")


TokensRule = Literal["label"] | PerStep | Each | Ramped | Table


class Phase(Strict):
    """A phase of the training. Its name is matched by the group `phase` of the key `match`."""

    own_run: bool = Field(
        False,
        description="whether the steps of the phase start again from 0; if so, the phase becomes a "
        "separate run, `<run>.<phase>`, with a separate rule for tokens",
    )
    start: float = Field(0, ge=0, description="tokens seen before this phase")
    tokens: TokensRule | None = Field(
        None, description="rule for tokens of this phase", examples=["label", "{per_step: 2097152}"]
    )
    stage: str | None = Field(
        None,
        min_length=1,
        description="stage of the training after pre-training, such as SFT, DPO or RL",
        examples=["SFT"],
    )
    first_step: int = Field(
        0,
        ge=0,
        description="step of the run at which the phase starts, which is added to its steps; for a "
        "phase whose steps start again from 0, but which belongs to the same run",
    )
    skip: bool = Field(False, description="whether to leave this phase out")


def _check_match(match: str) -> str:
    groups = set(re.compile(pattern(match)).groupindex)
    if groups - _GROUPS:
        raise ValueError(f"has the group {min(groups - _GROUPS)}; use only {', '.join(_GROUPS)}")
    return match


def _check_grid(grid: list[int | str]) -> list[int | str]:
    steps(grid)
    return grid


def _check_named(named: dict[str, int | str]) -> dict[str, int | str]:
    for text in named.values():
        if isinstance(text, str) and (text.isdecimal() or not number(text)):
            raise ValueError(f"write {text} without quotes for a step, or like 2.7T for tokens")
        if isinstance(text, int) and text < 0:
            raise ValueError(f"{text} is less than 0")
    return named


class Naming(Strict):
    """Rules to parse the names of checkpoints, for a suite or for a group of repositories."""

    match: Annotated[str, AfterValidator(_check_match)] | None = Field(
        None,
        description="regular expression that matches the whole name of a revision, with groups "
        "`step` or `tokens` and optional groups `phase`, `run` and `seed`; the expression matches "
        "paths of folders in the mode `folders`, titles of commits in the mode `commits`, and full "
        "names of repositories in the mode `repositories`; `5k` and `300B` are read as numbers, "
        "which must be whole; if the names contain tokens and no steps, the checkpoints are "
        "ordered, chosen and drawn by tokens, or by the steps that `{per_step: n}` gives",
    )
    tokens: TokensRule | None = Field(
        None,
        description="rule for the tokens that a checkpoint has seen: `label` (read from the "
        "group `tokens`), `{per_step: n}`, `{each: n}` (n per checkpoint of a phase), `{ramp: …}` "
        "or `{table: …}`",
        examples=["label", "{per_step: 2097152}", "{each: 8.5e9}", "{ramp: …}", "{table: …}"],
    )
    named: Annotated[dict[str, int | str], AfterValidator(_check_named)] | None = Field(
        None,
        description="for names that do not contain the step: the step of each name, or its number "
        "of tokens, such as `2.7T`",
        examples=["{alpha: 1000}", "{alpha: 2.7T}"],
    )
    phases: dict[str, Phase] | None = Field(
        None, description="phases by name; a pattern such as `stage2*` can match several"
    )
    grid: Annotated[list[int | str], AfterValidator(_check_grid)] | None = Field(
        None,
        description="steps that should exist, such as `[0, 512, 1000..143000 by 1000]`, or tokens, "
        "such as `[100B..1T by 100B]`; a step without a checkpoint is reported as a hole",
    )
    run: str | None = Field(
        None,
        pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,119}$",
        description="name of the run, if several repositories contain the checkpoints of one run; "
        "the names of its revisions then begin with the name of the repository",
    )
    stage: str | None = Field(
        None,
        min_length=1,
        description="stage of the training after pre-training, such as SFT, DPO or RL; the claim "
        "of two phases is not tested on these checkpoints",
        examples=["SFT"],
    )
    first_step: int | None = Field(
        None,
        ge=0,
        description="step of the run at which the training of this repository starts, which is "
        "added to its steps, also to those of `grid` and `main_step`",
    )
    start: float | None = Field(
        None,
        ge=0,
        description="tokens seen before the training of this repository; without it, the tokens of "
        "checkpoints with a `first_step` are not known",
    )
    main_step: int | None = Field(
        None,
        ge=0,
        description="step (or number of tokens) of the checkpoint `main`; if another checkpoint of "
        "the run has the same step, `main` is left out",
    )
    branch: str | None = Field(None, description="branch, for the mode `commits` (default: `main`)")
    tokenizer: str | None = Field(
        None,
        pattern=REPOSITORY,
        description="repository of the tokenizer, if the checkpoints contain no tokenizer",
    )
    language: str | None = Field(
        None,
        description="language of the training text, if it contains little or no English; such a "
        "suite is refused if `corpus.text` is known to be English",
    )
    seed: int | str | None = Field(
        None,
        description="seed of the runs, or a regular expression whose group matches the seed in the "
        "name of the repository, such as `seed(\\d+)$`",
    )

    @field_validator("seed")
    @classmethod
    def _check_seed(cls, seed: int | str | None) -> int | str | None:
        if isinstance(seed, str) and not re.compile(pattern(seed)).groups:
            raise ValueError("needs a group that matches the seed, such as seed(\\d+)$")
        return seed


class Expected(Strict):
    """Properties of repositories that `shapesweep check-registry` compares with the Hub.

    The keys are documentation: no other command reads them, and no result depends on them.
    """

    license: str | None = Field(
        None, description="license of the weights, as the Hub names it", examples=["apache-2.0"]
    )
    gated: bool | None = Field(
        None, description="whether users must accept terms on the Hub (default: `false`)"
    )
    weights: Literal["safetensors", "bin"] | None = Field(
        None, description="format of the weights; the repository may contain other formats, too"
    )
    architecture: str | list[str] | None = Field(
        None,
        description="class that `config.json` names; a list if the runs have different classes",
        examples=["LlamaForCausalLM", "[BertForMaskedLM, GPT2LMHeadModel]"],
    )
    other_names: Annotated[str, AfterValidator(pattern)] | None = Field(
        None,
        description="regular expression for names that belong to no checkpoint of the suite, such "
        "as the branches of a fine-tuned model",
    )
    other_steps: bool | None = Field(
        None, description="whether there are checkpoints at steps that `grid` does not list"
    )


class Repositories(Expected, Naming):
    """Some repositories of a suite, with keys that apply only to these repositories."""

    repository: str = Field(
        pattern=REPOSITORY,
        description="`org/name`; `{a,b}` and `{0..9}` expand to several names, and `*` stands for "
        "any characters in the names of existing repositories",
    )

    @field_validator("repository")
    @classmethod
    def _check_repository(cls, repository: str) -> str:
        ranges = re.findall(r"\{(\d+)\.\.(\d+)\}", repository)
        if math.prod(max(1, int(last) - int(first)) for first, last in ranges) > MOST:
            raise ValueError(f"the pattern matches more than {MOST:,} repositories")
        return repository


class Fact(Strict):
    """A known fact about a suite, and its source."""

    about: str = Field(description="subject")
    says: str = Field(description="the fact")
    source: str = Field(description="where the fact was read, or how it was computed")
    verified: Literal["read", "secondhand", "computed", "recalled"] = Field(
        description="how the fact was verified: `read` (in the authors' publication), "
        "`secondhand`, `computed`, or `recalled` (from memory, not verified)"
    )


class HubSuite(Expected, Naming):
    """A family of training runs on the Hub."""

    source: Literal["hub"] = Field(description="repositories on the Hugging Face Hub")
    title: str | None = Field(None, description="description of the suite in one sentence")
    mode: Mode = Field(
        description="where the Hub stores each checkpoint of a run; `refs` means branches or tags"
    )
    repositories: list[Repositories] = Field(
        description="repositories of the runs; an entry can also be just the name of a repository"
    )
    only: list[str] | None = Field(
        None, min_length=1, description="runs to measure, such as `[pythia-70m, pythia-1*]`"
    )
    accept: list[Literal["shares_file_with", "same_step_as", "discontinuous"]] = Field(
        [], description="flags that do not exclude a checkpoint from the results"
    )
    remote_code: bool = Field(
        False,
        description="whether the models need code from their repositories; see `hub.remote_code`",
    )
    ignored_weights: list[Annotated[str, AfterValidator(pattern)]] = Field(
        [],
        description="regular expressions for names of weights that the model may leave unused; the "
        "model's class may ignore further weights, and heads may be unused in any case",
    )
    losses: dict[str, str] = Field(
        {},
        description="training logs by run: a `.csv`, `.jsonl` or `.json` file in the run's "
        "repository, with a column of steps and a column of losses",
        examples=["{Lucie-7B: metadata/training_logs/1_pretraining.csv}"],
    )
    loss_files: dict[str, AnyPath] = Field(
        {},
        description="training logs on this machine, by run, in the same formats",
        examples=["{pythia-410m-seed3: losses/seed3.csv}"],
    )
    spiked: list[str] = Field(
        [],
        description="runs whose checkpoints were saved during a loss spike, such as "
        "`[*.spike_ckpt]`; `snakemake spikes` compares them with the other runs of their "
        "repository",
    )
    facts: list[Fact] = Field([], description="known facts, with their sources")

    @field_validator("repositories", mode="before", json_schema_input_type=list[str | Repositories])
    @classmethod
    def _expand_names(cls, repositories: Any) -> Any:
        if not isinstance(repositories, list):
            return repositories
        return [
            {"repository": repository} if isinstance(repository, str) else repository
            for repository in repositories
        ]

    @model_validator(mode="after")
    def _check_pattern(self) -> "HubSuite":
        for group in self.groups():
            if not (group.match or group.named):
                raise ValueError(
                    f"{group.repository} needs the key match, for the repository or for the suite"
                )
            if group.first_step and "(?P<step>" not in (group.match or "(?P<step>"):
                raise ValueError(
                    f"{group.repository}: first_step needs names with a group `step` in `match`"
                )
            if group.match and self.mode == "repositories" and "(?P<run>" not in group.match:
                raise ValueError("the mode `repositories` needs the group `run` in the key `match`")
        return self

    def listing_key(self) -> dict[str, Any]:
        """Return the keys on which the listing of the suite depends."""
        parts = {"repository", "match", "named", "branch", "tokenizer"}
        groups = [
            group.model_dump(include=parts) | ({"run": group.run} if group.run else {})
            for group in self.groups()
        ]
        return {"mode": self.mode, "only": self.only, "groups": groups}

    def languages(self) -> set[str]:
        """Return the languages of the chosen runs, as far as their groups state a language."""
        known = {
            name.partition("/")[2]: group.language
            for group in self.groups()
            for name in expand(group.repository)
        }
        chosen = [known[run] for run in self.only or () if run in known]
        is_known = self.only is not None and len(chosen) == len(self.only)
        return {language for language in (chosen if is_known else known.values()) if language}

    def groups(self) -> list[Repositories]:
        """Return the groups of repositories. Keys that a group lacks are taken from the suite."""
        keys = [*Naming.model_fields, *Expected.model_fields]
        return [
            group.model_copy(
                update={f: getattr(self, f) for f in keys if getattr(group, f) is None},
            )
            for group in self.repositories
        ]
