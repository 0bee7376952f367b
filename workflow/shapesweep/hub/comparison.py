"""Compare the definition of a suite with what the Hub has of it, property by property.

This module does not call the Hub.
"""

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from shapesweep.checkpoint import facts
from shapesweep.config.hub_suite import HubSuite, Repositories
from shapesweep.config.names import number, steps
from shapesweep.errors import CheckpointError
from shapesweep.hub.errors import NoAccessError, RefusedError, UnreachableError
from shapesweep.hub.files import needed
from shapesweep.hub.information import Information
from shapesweep.hub.revisions import Repository, unmatched
from shapesweep.hub.survey import Config, Run, Survey
from shapesweep.storage import axis
from shapesweep.storage.files import File

#: `not stated` if the registry states nothing, and `not read` if a token is needed. Neither of
#: them is a difference.
Verdict = Literal["agrees", "differs", "not stated", "not read", "not reached"]
#: Maximum number of names in a cell of the table.
SHOWN = 5


@dataclass(frozen=True)
class Row:
    """One property in the registry and on the Hub.

    Attributes
    ----------
    where : str
        Repository, pattern of repositories, or run.
    what : str
        The property.
    registry, hub : str
        What the registry and the Hub state.
    verdict : str
    """

    where: str
    what: str
    registry: str
    hub: str
    verdict: Verdict


def merged(rows: Iterable[Row]) -> list[Row]:
    """Merge rows that differ only in the repository or run."""
    alike: dict[tuple[str, str, str, Verdict], list[str]] = {}
    for row in rows:
        alike.setdefault((row.what, row.registry, row.hub, row.verdict), []).append(row.where)
    return [
        Row(where[0] if len(where) == 1 else f"{where[0]} and {len(where) - 1} more", *rest)
        for rest, where in alike.items()
    ]


def compare(suite: HubSuite, found: Survey) -> Iterator[Row]:
    """Yield a row for each property of a suite's repositories and runs.

    Parameters
    ----------
    suite : HubSuite
    found : Survey

    Yields
    ------
    Row
    """
    for name, repository in found.repositories.items():
        group = found.groups.get(name)
        yield _repository(name, repository, group, found.information.get(name))
        if not isinstance(repository, Repository) or name in found.conflicts:
            continue
        if group:
            yield from _other_names(suite, name, repository, group)
    for name, information in found.information.items():
        yield from _information(name, information, found.groups[name])
    for name in found.empty:
        yield Row(name, "revisions", _n_steps(found.groups[name]), "none", "differs")
    for name, conflict in found.conflicts.items():
        yield Row(name, "names", "unambiguous", conflict, "differs")
    for run in found.runs:
        group = found.groups[run.last.repository]
        information = found.information[run.last.repository]
        is_gated = isinstance(information, Information) and information.is_gated
        yield _revisions(run, group)
        yield from _contents(suite, run, group, is_gated)


def _repository(
    name: str,
    repository: Repository | CheckpointError,
    group: Repositories | None,
    information: Information | CheckpointError | None,
) -> Row:
    stated = group.repository if group and "*" in group.repository else "named"
    if isinstance(repository, Repository):
        return Row(name, "repository", stated, "found", "agrees")
    is_gated = isinstance(information, Information) and information.is_gated
    return Row(name, "repository", stated, str(repository), _verdict(repository, is_gated))


def _other_names(
    suite: HubSuite, name: str, repository: Repository, group: Repositories
) -> Iterator[Row]:
    """Yield a row about the names of a repository that belong to no checkpoint."""
    known = re.compile(group.other_names or r"(?!)")
    names = unmatched(suite.mode, group, name, repository)
    found = [other for other in names if not known.fullmatch(other)]
    stated = group.other_names or "none"
    yield Row(name, "other names", stated, _few(found), "differs" if found else "agrees")


def _information(
    name: str, found: Information | CheckpointError, group: Repositories
) -> Iterator[Row]:
    """Yield rows about the license of a repository, and about the access to it."""
    if isinstance(found, CheckpointError):
        # The row about the repository contains the reason why the Hub refuses it.
        if not isinstance(found, RefusedError):
            yield Row(name, "license", _stated(group.license), str(found), _verdict(found))
        return
    agrees = (found.license or "").casefold() == (group.license or "").casefold()
    yield _row(name, "license", group.license, found.license or "not stated", agrees)
    agrees = found.is_gated == bool(group.gated)
    yield _row(name, "gated", _yes(bool(group.gated)), _yes(found.is_gated), agrees)


def _revisions(run: Run, group: Repositories) -> Row:
    """Return a row about the steps of a run."""
    found = {checkpoint.step for checkpoint in run.checkpoints}
    on_tokens = axis.of(found, [checkpoint.tokens for checkpoint in run.checkpoints]).on_tokens
    unit = "{} tokens" if on_tokens else "step {}"
    expected = {step: unit.format(step) for step in steps(group.grid or [])}
    expected |= {number(str(step)): name for name, step in (group.named or {}).items()}
    if group.main_step is not None:
        expected[group.main_step] = "main"
    missing = [name for step, name in sorted(expected.items()) if step not in found]
    surplus = [
        checkpoint.revision
        for checkpoint in run.checkpoints
        if group.grid and not group.other_steps and checkpoint.step not in expected
    ]
    parts = [f"{len(run.checkpoints)}"]
    parts += [f"missing: {_few(missing)}"] if missing else []
    parts += [f"not in the grid: {_few(surplus)}"] if surplus else []
    stated = _n_steps(group) if group.grid or group.named else None
    return _row(run.name, "revisions", stated, "; ".join(parts), not missing and not surplus)


def _contents(suite: HubSuite, run: Run, group: Repositories, is_gated: bool) -> Iterator[Row]:
    """Yield rows about the files and the configuration of the last checkpoint of a run."""
    if isinstance(run.tree, CheckpointError):
        yield Row(run.name, "files", "listed", str(run.tree), _verdict(run.tree, is_gated))
        return
    there, status = formats(run.tree, run.last.inside)
    if there:
        yield _row(run.name, "weights", group.weights, " and ".join(there), group.weights in there)
    else:
        yield Row(run.name, "weights", _stated(group.weights), status, "differs")
    if isinstance(run.config, CheckpointError):
        verdict = _verdict(run.config, is_gated)
        yield Row(run.name, "config.json", "present", str(run.config), verdict)
    elif run.config is None:
        yield Row(run.name, "config.json", "present", "absent", "differs")
    else:
        yield _architecture(run.name, group, run.config)
        code = "auto_map" in run.config
        stated = "needed" if suite.remote_code else "not needed"
        hub = "config.json names code" if code else "config.json names no code"
        yield _row(run.name, "code", stated, hub, code == suite.remote_code)


def _architecture(where: str, group: Repositories, config: Config) -> Row:
    hub, stated = architecture(config), _classes(group)
    return _row(where, "architecture", " or ".join(stated), hub or "not stated", hub in stated)


def _classes(group: Repositories) -> list[str]:
    """Return the classes that the registry states for the runs of a group."""
    stated = group.architecture or []
    return [stated] if isinstance(stated, str) else stated


def architecture(config: Config) -> str:
    """Return the class that a configuration names, or else its type; empty if it has neither."""
    kind = config.get("model_type")
    return facts.architecture(config) or (kind if isinstance(kind, str) else "")


def formats(tree: Sequence[File], folder: str) -> tuple[list[str], str]:
    """Return the formats in which a folder contains complete weights.

    Parameters
    ----------
    tree : sequence of File
    folder : str
        Folder in the repository; empty for its root.

    Returns
    -------
    formats : list of str
        `safetensors`, `bin`, or both.
    status : str
        What is missing if no format is complete.
    """
    found, flaws = [], []
    for name, other in (("safetensors", ".bin"), ("bin", ".safetensors")):
        status = needed([file for file in tree if other not in file.path], folder, False)[1]
        missing = [flaw for flaw in status if flaw.startswith("missing_weights")]
        found += [] if missing else [name]
        flaws += [flaw.partition(":")[2] for flaw in missing if ":" in flaw]
    return found, f"incomplete, without {_few(flaws)}" if flaws else "neither safetensors nor bin"


def _row(where: str, what: str, stated: str | None, hub: str, agrees: bool) -> Row:
    verdict: Verdict = "agrees" if agrees else "differs"
    return Row(where, what, _stated(stated), hub, verdict if stated else "not stated")


def _stated(value: str | None) -> str:
    return value or "not stated"


def _yes(value: bool) -> str:
    return "yes" if value else "no"


def _n_steps(group: Repositories) -> str:
    """Return how many steps the rules of a group expect."""
    n = len({*steps(group.grid or []), *(number(str(s)) for s in (group.named or {}).values())})
    return f"{n} steps" if n else "not stated"


def _few(names: Sequence[str]) -> str:
    """Return a list of names, shortened if it is long."""
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return f"{', '.join(names[:SHOWN])}{more}" if names else "none"


def _verdict(error: CheckpointError, is_gated: bool = False) -> Verdict:
    """Return whether an error is a difference, or only prevents the comparison."""
    if isinstance(error, UnreachableError):
        return "not reached"
    return "not read" if is_gated and isinstance(error, NoAccessError) else "differs"
