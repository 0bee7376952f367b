"""The registry of suites that a configuration can name. Each suite is one file in `suites/`."""

from collections.abc import Collection
from importlib import resources
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, ValidationInfo

from shapesweep.config import yaml_file
from shapesweep.config.hub_suite import HubSuite, Mode, Repositories
from shapesweep.config.suite import SUITE, AnySuite, Name, Suite
from shapesweep.errors import ShapesweepError, near
from shapesweep.validation import at, validated

#: Folder of the suites of the registry.
REGISTRY = Path(str(resources.files("shapesweep") / "suites"))


def published(names: Collection[str] = ()) -> dict[str, HubSuite]:
    """Return suites of the registry that have repositories on the Hub.

    Parameters
    ----------
    names : collection of str, optional
        Names of suites (default: all such suites).

    Raises
    ------
    ShapesweepError
        If the registry has no suite with a name, or this suite has no repositories on the Hub.
    """
    known = {path.stem: path for path in sorted(REGISTRY.glob("*.yaml"))}
    found = {}
    for name in names or known:
        if name not in known:
            raise ShapesweepError(f"{name}: there is no such suite{near(name, known)}")
        suite = validated(SUITE.validate_python, yaml_file.read(known[name]), known[name])
        if isinstance(suite, HubSuite) and suite.repositories:
            found[name] = suite
        elif names:
            raise ShapesweepError(f"{name}: this suite names no repositories on the Hub")
    return found


def _read_named(suites: Any, info: ValidationInfo) -> Any:
    """Replace the names of suites with their definitions."""
    if isinstance(suites, str):
        suites = [suites]
    if isinstance(suites, list):
        suites = {str(name): None for name in suites}
    if not isinstance(suites, dict) or not suites:
        raise ValueError("name at least one suite, such as [embedded]")
    registry = (info.context or {}).get("registry", REGISTRY)
    return {k: _laid_over(str(k), v, registry) for k, v in suites.items()}


class Overlay(HubSuite):
    """Keys that override a definition in the registry; only the JSON schema uses this class."""

    source: Literal["hub"] = "hub"
    mode: Mode = "branches"
    repositories: list[Repositories] = Field(
        [], description="repositories, instead of the repositories in the registry"
    )


Suites = Annotated[
    dict[Name, Suite],
    BeforeValidator(
        _read_named,
        json_schema_input_type=list[str] | str | dict[Name, Suite | Overlay | None],
    ),
]


def _laid_over(name: str, definition: Any, registry: Path) -> Any:
    """Return a full definition. Keys of a definition without `source` override the registry."""
    if definition is None:
        return _named_suite(name, registry)
    known = isinstance(definition, dict) and "source" not in definition
    if not known or not (Path(registry).resolve() / f"{name}.yaml").is_file():
        return definition
    return {**_named_suite(name, registry).model_dump(exclude_unset=True), **definition}


def _named_suite(name: str, registry: Path) -> AnySuite:
    registry = Path(registry).resolve()
    known = sorted(p.stem for p in registry.glob("*.yaml"))
    if name not in known:
        raise at([name], f"there is no {registry / name}.yaml{near(name, known)}")
    path = registry / f"{name}.yaml"
    return validated(SUITE.validate_python, yaml_file.read(path), path)
