"""The published suite: where its checkpoints lie on the Hub, and what their names tell.

Only the definition is here: nothing is asked of the Hub. A name tells a checkpoint's place in
training through a regular expression; no name is ever made up from a rule.
"""

import math
import re
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field, field_validator, model_validator

from shapesweep.config.names import MOST, steps
from shapesweep.validation import Strict, pattern

#: Where checkpoints of a suite are found.
Mode = Literal["branches", "tags", "refs", "repositories", "folders", "commits"]

#: A repository's name, with `{a,b}` and `{0..9}` for several and `*` for whatever there is.
REPOSITORY = r"^[A-Za-z0-9][A-Za-z0-9._-]*/[A-Za-z0-9._{},*-]+$"

_GROUPS = {"step", "tokens", "phase", "run", "seed"}


class PerStep(Strict):
    """Tokens in proportion to the steps."""

    per_step: float = Field(gt=0, description="tokens a step")


class Each(Strict):
    """Tokens by the checkpoint's rank, from 1, within its phase."""

    each: float = Field(gt=0, description="tokens from one checkpoint of a phase to the next")


class Ramp(Strict):
    """A batch that grows with the samples seen, as Megatron's `--rampup-batch-size`."""

    first: int = Field(gt=0, description="samples of the first batch")
    increment: int = Field(gt=0, description="samples that a batch grows by")
    over: int = Field(gt=0, description="samples over which it grows, in equal shares")
    last: int = Field(gt=0, description="samples of the last batch")
    length: int = Field(gt=0, description="tokens of a sample")


class Ramped(Strict):
    """Tokens of a batch that grows."""

    ramp: Ramp = Field(description="how the batch grows")


class Table(Strict):
    """Tokens that somebody has written down."""

    table: dict[int, float] = Field(min_length=1, description="tokens by step")


TokensRule = Literal["label"] | PerStep | Each | Ramped | Table


class Phase(Strict):
    """One phase of the training; its name is what the group `phase` of `match` has found."""

    own_run: bool = Field(
        False,
        description="its steps begin anew: it is a run of its own, `<run>.<phase>`, with its own "
        "rule for the tokens",
    )
    start: float = Field(0, ge=0, description="tokens seen before it")
    tokens: TokensRule | None = Field(
        None, description="its own rule", examples=["label", "{per_step: 2097152}"]
    )
    skip: bool = Field(False, description="it is no part of the suite's training")


class Naming(Strict):
    """How the checkpoints are named: said of a suite, or of some of its repositories."""

    match: str | None = Field(
        None,
        description="regular expression over the whole revision (of `folders` the folder, of "
        "`commits` the title, of `repositories` the repository), with the groups `step` and, where "
        "there are any, `tokens`, `phase`, `run`, `seed`; `5k` and `300B` are numbers",
    )
    tokens: TokensRule | None = Field(
        None,
        description="how many tokens a checkpoint has seen: `label` (the group `tokens`), "
        "`{per_step: n}`, `{each: n}` (by rank within a phase), `{ramp: …}` or `{table: …}`",
        examples=["label", "{per_step: 2097152}", "{each: 8.5e9}", "{ramp: …}", "{table: …}"],
    )
    named: dict[str, int] | None = Field(
        None, description="steps by name, where names tell nothing: instead of `match`"
    )
    phases: dict[str, Phase] | None = Field(
        None, description="phases by name; `stage2*` names several"
    )
    grid: list[int | str] | None = Field(
        None,
        description="the steps that there should be, such as `[0, 512, 1000..143000 by 1000]`; "
        "one that is not there is a hole",
    )
    main_step: int | None = Field(None, ge=0, description="the step whose checkpoint is `main`")
    branch: str | None = Field(None, description="of `commits`: the branch, else `main`")
    tokenizer: str | None = Field(
        None, pattern=REPOSITORY, description="repository of the tokenizer, if it is another one"
    )
    seed: int | str | None = Field(
        None,
        description="the runs' seed, or a regular expression whose group finds it in the "
        "repository's name, such as `seed(\\d+)$`",
    )

    @field_validator("match")
    @classmethod
    def _is_a_pattern(cls, match: str | None) -> str | None:
        if match is None:
            return None
        groups = set(re.compile(pattern(match)).groupindex)
        if groups - _GROUPS:
            raise ValueError(f"has the group {min(groups - _GROUPS)}; use {', '.join(_GROUPS)}")
        return match

    @field_validator("seed")
    @classmethod
    def _finds_a_seed(cls, seed: int | str | None) -> int | str | None:
        if isinstance(seed, str) and not re.compile(pattern(seed)).groups:
            raise ValueError("needs a group that finds the seed, such as seed(\\d+)$")
        return seed

    @field_validator("grid")
    @classmethod
    def _can_be_read(cls, grid: list[int | str] | None) -> list[int | str] | None:
        steps(grid or [])
        return grid


class Repositories(Naming):
    """Some repositories of a suite; what is said here is said of them alone."""

    repository: str = Field(
        pattern=REPOSITORY,
        description="`org/name`, with `{a,b}` and `{0..9}` for several and `*` for all that exist",
    )

    @field_validator("repository")
    @classmethod
    def _can_be_counted(cls, repository: str) -> str:
        ranges = re.findall(r"\{(\d+)\.\.(\d+)\}", repository)
        if math.prod(max(1, int(last) - int(first)) for first, last in ranges) > MOST:
            raise ValueError(f"stands for more than {MOST:,} repositories")
        return repository


class Fact(Strict):
    """Something that is known of a suite, and how one knows."""

    about: str = Field(description="what it is about")
    says: str = Field(description="what is known")
    source: str = Field(description="where it was read, or what it was computed from")
    verified: Literal["read", "secondhand", "computed", "recalled"] = Field(
        description="`read` in the authors' own words, `secondhand`, `computed`, or `recalled`"
    )


class HubSuite(Naming):
    """A family of training runs that is published on the Hub."""

    source: Literal["hub"] = Field(description="repositories on the Hugging Face Hub")
    title: str | None = Field(None, description="what it is, in a sentence")
    mode: Mode = Field(description="what a checkpoint is there; `refs`: a branch or a tag")
    repositories: list[Repositories] = Field(description="where the runs are; a name alone will do")
    only: list[str] | None = Field(
        None, min_length=1, description="runs to measure, such as `[pythia-70m, pythia-1*]`"
    )
    accept: list[Literal["shares_file_with", "discontinuous"]] = Field(
        [], description="flags that do not exclude a checkpoint"
    )
    remote_code: bool = Field(
        False, description="the models need code from their repositories; see `hub.remote_code`"
    )
    ignored_weights: list[Annotated[str, AfterValidator(pattern)]] = Field(
        [],
        description="regular expressions of weights that have no place in the model and need none, "
        "besides those that its class ignores",
    )
    not_loadable: str | None = Field(None, description="why the suite cannot be measured as it is")
    losses: dict[str, str] = Field(
        {},
        description="training logs, by run: a `.csv`, `.jsonl` or `.json` in the run's repository, "
        "with a column of steps and one of losses",
        examples=["{Lucie-7B: metadata/training_logs/1_pretraining.csv}"],
    )
    license: str | None = Field(None, description="of the weights")
    facts: list[Fact] = Field([], description="what is known, and how one knows")

    @field_validator("repositories", mode="before", json_schema_input_type=list[str | Repositories])
    @classmethod
    def _name_alone(cls, repositories: Any) -> Any:
        if not isinstance(repositories, list):
            return repositories
        return [
            {"repository": repository} if isinstance(repository, str) else repository
            for repository in repositories
        ]

    @model_validator(mode="after")
    def _has_a_pattern(self) -> "HubSuite":
        for group in self.groups():
            if not (group.match or group.named or self.not_loadable):
                raise ValueError(f"{group.repository} needs a match, and the suite has none")
            if group.match and self.mode == "repositories" and "(?P<run>" not in group.match:
                raise ValueError("the match of a suite of repositories needs the group run")
        return self

    def listing_key(self) -> dict[str, Any]:
        """What the listing of the suite depends on."""
        parts = {"repository", "match", "named", "branch", "tokenizer"}
        groups = [group.model_dump(include=parts) for group in self.groups()]
        return {"mode": self.mode, "only": self.only, "groups": groups}

    def groups(self) -> list[Repositories]:
        """The repositories, each with all that is said of it: by itself, else by the suite."""
        keys = list(Naming.model_fields)
        return [
            group.model_copy(
                update={f: getattr(self, f) for f in keys if getattr(group, f) is None},
            )
            for group in self.repositories
        ]
