"""Expand patterns of names (`{a,b}`, `{0..9}`), numbers (`300B`), and grids of steps."""

import re
from fractions import Fraction

from shapesweep.storage.schemas import LARGEST

#: Maximum number of steps in a grid, and of names to which a pattern expands.
MOST = 100_000

_UNITS = {"": 1, "k": 10**3, "m": 10**6, "b": 10**9, "t": 10**12}
_NUMBER = r"\d+(?:\.\d+)?[kmbt]?"


def steps(grid: list[int | str]) -> list[int]:
    """Return the steps of a grid, or the numbers of tokens.

    Raises
    ------
    ValueError
        If an entry is neither a step nor `a..b by c`.

    Examples
    --------
    >>> steps([0, 512, "1000..3000 by 1000"])
    [0, 512, 1000, 2000, 3000]
    >>> steps(["1.5T", "200B..400B by 200B"])
    [200000000000, 400000000000, 1500000000000]
    """
    found: set[int] = set()
    pattern = rf"({_NUMBER})(?:\.\.({_NUMBER}) by ({_NUMBER}))?"
    for entry in grid:
        match = re.fullmatch(pattern, str(entry), re.IGNORECASE)
        if match is None:
            raise ValueError(f"{entry!r} is neither a step nor a range like '1000..143000 by 1000'")
        first, last, by = map(number, (match[1], match[2] or match[1], match[3] or "1"))
        if by == 0:
            raise ValueError(f"{entry!r} has a distance of 0")
        if last > LARGEST or last - first > MOST * by:
            raise ValueError(f"{entry!r} has more than {MOST:,} steps, or too large a step")
        found.update(range(first, last + 1, by))
    return sorted(found)


def expand(names: str) -> list[str]:
    """Expand a pattern with braces to a list of names.

    Examples
    --------
    >>> expand("org/run-{a,b}-seed{1..2}")
    ['org/run-a-seed1', 'org/run-a-seed2', 'org/run-b-seed1', 'org/run-b-seed2']
    """
    match = re.search(r"\{([^{}]*)\}", names)
    if match is None:
        return [names]
    numbers = re.fullmatch(r"(\d+)\.\.(\d+)", match[1])
    words = (
        [str(n) for n in range(int(numbers[1]), int(numbers[2]) + 1)]
        if numbers
        else match[1].split(",")
    )
    head, tail = names[: match.start()], names[match.end() :]
    return [name for word in words for name in expand(f"{head}{word}{tail}")]


def number(text: str) -> int:
    """Read an integer from a name.

    Raises
    ------
    ValueError
        If the text is not a number, or the number is too large or not whole.

    Examples
    --------
    >>> number("0005000"), number("480k"), number("16.78B"), number("15T")
    (5000, 480000, 16780000000, 15000000000000)
    """
    if not re.fullmatch(_NUMBER, text, re.IGNORECASE):
        raise ValueError(f"{text!r} is not a number")
    digits = text.rstrip("kmbtKMBT")
    found = Fraction(digits) * _UNITS[text[len(digits) :].lower()]
    if found > LARGEST:
        raise ValueError(f"{text!r} is too large")
    # Two rounded numbers could be equal, although the names of their checkpoints differ.
    if found.denominator != 1:
        raise ValueError(f"{text!r} is not a whole number")
    return int(found)
