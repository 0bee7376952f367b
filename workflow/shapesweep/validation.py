"""Validate definitions; an error message is one line with the key, its value, and what to write.

`Strict` is the base class of every definition. JSON schemas for editors and the reference of the
configuration are generated from the definitions.
"""

import difflib
import os
import re
import reprlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Annotated, Any, TypeVar

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    GetCoreSchemaHandler,
    ValidationError,
    model_validator,
)
from pydantic_core import ErrorDetails, PydanticCustomError, core_schema

from shapesweep.errors import ShapesweepError, near, printable
from shapesweep.storage.schemas import LARGEST

Valid = TypeVar("Valid")

#: Marks an absent key, because None is a valid value.
NOTHING = object()
#: On common file systems, the maximum size of a path and of each name in it, in bytes.
PATH_BYTES, NAME_BYTES = 4095, 255
_PARTICLES = {"model_type", "literal_error", "list_type", "dict_type", "string_type"}


class Strict(BaseModel):
    """The base class of all definitions. Definitions with unknown or misspelt keys are refused."""

    model_config = ConfigDict(extra="forbid", allow_inf_nan=False)

    @model_validator(mode="before")
    @classmethod
    def _knows_every_key(cls, data: Any) -> Any:
        given = data if isinstance(data, dict) else {}
        for key in given:
            if key not in cls.model_fields:
                raise at([key], f"there is no such key{near(str(key), cls.model_fields)}")
        for key, value in given.items():
            if isinstance(value, int) and abs(value) > LARGEST:
                raise at([key], f"found {_shown(value)}; write a number of at most {LARGEST}")
        return data


@dataclass(frozen=True)
class OneOf:
    """Annotation of a string that must be one of several names.

    Attributes
    ----------
    what : str
        What the names are, for the error message.
    names : tuple of str
    """

    what: str
    names: tuple[str, ...]

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> Any:
        """Check the string after pydantic has checked its type."""
        return core_schema.no_info_after_validator_function(self._checked, handler(source))

    def __get_pydantic_json_schema__(self, _schema: Any, _handler: Any) -> dict[str, Any]:
        """Describe the names for editors."""
        return {"type": "string", "enum": list(self.names)}

    def _checked(self, name: str) -> str:
        if name not in self.names:
            raise ValueError(f"there is no such {self.what}{near(name, self.names)}")
        return name


def at(key: Sequence[Any], message: str) -> PydanticCustomError:
    """Return an error for a key inside the value that is being validated."""
    return PydanticCustomError(
        "at_key", "{message}", {"key": list(key), "message": printable(message)}
    )


def pattern(text: str) -> str:
    """Check a regular expression in a definition.

    Raises
    ------
    ValueError
        If the text is not a valid regular expression.
    """
    try:
        re.compile(text)
    # Huge repetitions raise an OverflowError, and deeply nested groups raise a RecursionError.
    except (re.error, OverflowError, RecursionError) as error:
        raise ValueError(f"this is not a valid regular expression: {error}") from None
    return text


def valid_path(text: str) -> str:
    """Check a path in a definition.

    Raises
    ------
    ValueError
        If the path is empty, or too long for common file systems.
    """
    if not text:
        raise ValueError("write a path")
    encoded = text.encode("utf-8", "surrogatepass")
    if len(encoded) > PATH_BYTES:
        raise ValueError(f"the path is longer than {PATH_BYTES:,} bytes; write a shorter path")
    if max(map(len, encoded.split(b"/"))) > NAME_BYTES:
        raise ValueError(f"a name in the path is longer than {NAME_BYTES} bytes; shorten the name")
    return text


def expanded(text: str) -> str:
    """Expand `~` and defined variables, such as `$HOME`, in a path; other text is unchanged."""
    # `Path.expanduser` raises an error for a user that does not exist.
    return os.path.expanduser(os.path.expandvars(text))  # noqa: PTH111


def any_path(text: str) -> str:
    """Check a path in a definition, and expand `~` and defined variables.

    Raises
    ------
    ValueError
        If the path is empty, or too long for common file systems.
    """
    return valid_path(expanded(text))


def output_folder(text: str) -> str:
    """Check the path of a folder that Snakemake writes to, and expand `~` and variables.

    Raises
    ------
    ValueError
        If Snakemake does not accept the path, or would replace a part of the path.
    """
    text = expanded(text)
    if "{" in text or "}" in text:
        raise ValueError("the path must not contain braces, which mark Snakemake's wildcards")
    if found := re.search(r"<[a-z][a-z0-9_]*>", text):
        raise ValueError(
            f"the path must not contain {found[0]}, which Snakemake replaces; remove the <"
        )
    if not text.isprintable() or text.startswith("-"):
        raise ValueError("the path must be printable, and must not begin with '-'")
    folder = str(Path(text))
    if folder == ".":
        raise ValueError("Snakemake runs in this folder; name a subfolder, such as results")
    return valid_path(folder)


#: A path in a definition; `~` and defined variables are expanded.
AnyPath = Annotated[str, AfterValidator(any_path)]


def below(found: Any, part: str) -> Any:
    """Return the value at a key or at a list index; `NOTHING` if there is no value."""
    if isinstance(found, Mapping):
        return {str(key): value for key, value in found.items()}.get(part, NOTHING)
    if isinstance(found, list) and part.isdecimal() and int(part) < len(found):
        return found[int(part)]
    return NOTHING


def validated(validate: Callable[[Any], Valid], raw: Any, where: str | Path) -> Valid:
    """Validate a definition with a method such as `SUITE.validate_python`.

    Raises
    ------
    ShapesweepError
        If the definition is not valid. The message begins with `where`.
    """
    try:
        return validate(raw)
    except ValidationError as error:
        key, message = explain(error, raw)
        raise ShapesweepError(f"{where}: {'.'.join(key)}: {message}") from None


def explain(
    error: ValidationError, raw: Any, model: type[BaseModel] | None = None
) -> tuple[list[str], str]:
    """Return the most specific problem of a failed validation, as a readable message.

    Parameters
    ----------
    error : pydantic.ValidationError
    raw : object
        The value that was validated.
    model : type, optional
        The class of the definition. If a key accepts several forms, the message lists the examples
        that this class gives for the key.

    Returns
    -------
    key : list of str
        Path of the key; empty if the problem concerns the whole definition.
    message : str
        One line that states the value found, and what to write instead.
    """
    problems = error.errors()
    problem = min(problems, key=_vagueness)
    key = _path(problem, raw)
    if problem["type"] == "at_key":
        return [*key, *map(str, problem["ctx"]["key"])], problem["msg"]
    if problem["type"] == "union_tag_not_found":
        return [*key, "source"], f"this key is required; write one of {_tags(problem)}"
    if problem["type"] == "missing":
        return key, "this key is required"
    field = model.model_fields.get(key[0]) if model and len(key) == 1 else None
    if field is not None and field.examples and len(problems) > 1:
        return key, f"found {_shown(problem['input'])}; write one of {', '.join(field.examples)}"
    if problem["type"] == "union_tag_invalid":
        found = problem["ctx"]["tag"]
        return [*key, "source"], f"found {_shown(found)}; write one of {_tags(problem)}"
    if problem["type"] == "value_error" and isinstance(problem["input"], dict):
        # If a problem concerns several keys, its message names these keys.
        return key, _instead(problem)
    return key, f"found {_shown(problem['input'])}; {_instead(problem)}"


def _vagueness(problem: ErrorDetails) -> tuple[bool, bool, int]:
    # If a key accepts several forms, the message for the form that matches best is the most useful.
    tells = problem["type"] == "at_key" and "did you mean" in problem["msg"]
    return (
        not tells,
        problem["type"] in {*_PARTICLES, "at_key", "missing"},
        -len(problem["loc"]),
    )


def _path(problem: ErrorDetails, raw: Any) -> list[str]:
    """Return the path of the key that has a problem, without the names that pydantic adds."""
    key, parts = [], [str(part) for part in problem["loc"]]
    for n, part in enumerate(parts, 1):
        inner = below(raw, part)
        if inner is not NOTHING or (n == len(parts) and problem["type"] == "missing"):
            key.append(part)
            raw = inner
    return key


# Shortens long values for messages.
_short = reprlib.Repr()
_short.maxlevel, _short.maxdict, _short.maxlist = 3, 8, 8
_short.maxstring = _short.maxother = _short.maxlong = 200


def _shown(value: Any) -> str:
    return str(value) if isinstance(value, date) else _short.repr(value)


def _tags(problem: ErrorDetails) -> str:
    known = problem["ctx"].get("expected_tags", "'embedded', 'local', 'hub'")
    return known.replace("'", "")


def _instead(problem: ErrorDetails) -> str:
    kind, context = problem["type"], problem.get("ctx", {})
    if kind == "literal_error":
        expected = context["expected"].replace("'", "")
        choices = re.split(", | or ", expected)
        close = difflib.get_close_matches(str(problem["input"]), choices, n=1, cutoff=0.75)
        return f"write {expected}" + (f"; did you mean {close[0]}?" if close else "")
    if kind == "string_pattern_mismatch" and "/" in context["pattern"]:
        return "write org/name"
    if kind == "string_type" and isinstance(problem["input"], bool):
        word = "yes" if problem["input"] else "no"
        return f'YAML reads {word} without quotes as {problem["input"]}; write "{word}"'
    if kind == "string_type" and isinstance(problem["input"], int | float | date):
        return f'write the text in quotes, such as "{problem["input"]}"'
    words = {
        "greater_than_equal": "a number of at least {ge}",
        "greater_than": "a number above {gt}",
        "less_than_equal": "a number of at most {le}",
        "less_than": "a number below {lt}",
        "int": "an integer",
        "float": "a number",
        "bool": "true or false",
        "string_type": "a string",
        "string_pattern": "a name of at most 120 characters, which begins with a letter or digit, "
        "and contains only letters, digits, '.', '_' and '-'",
        "list": "a list, such as [a, b]",
        "dict": "keys and values",
        "model": "keys and values",
        "too_short": "at least one entry",
        "string_too_short": "at least one character",
    }
    for start, replacement in words.items():
        if kind.startswith(start):
            return f"write {replacement.format(**context)}"
    return problem["msg"].removeprefix("Value error, ")
