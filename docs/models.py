"""Write docs/reference/models.md: what shapesweep does with each language model of transformers.

    python docs/models.py

The script makes a miniature of each class, which takes half a minute, and also writes the number of
measured classes into the README. Tracebacks on standard error belong to refused models. Tests
compare the page with the miniatures of a sample of classes (`make test`) or of all classes
(`make test-all`).
"""

import re
import sys
import tempfile
from collections import Counter
from pathlib import Path

import torch
import transformers

ROOT = Path(__file__).parents[1]
sys.path[:0] = [str(ROOT / "docs"), str(ROOT / "tests")]

import generate

from helpers import miniatures, verdicts

PAGE, README = ROOT / "docs/reference/models.md", ROOT / "README.md"
HEAD = ["class", "model type", "kind", "what shapesweep does"]
MISSING = "no miniature"


def main() -> None:
    """Write the tables and the numbers of the page, and the number in the README."""
    found = [row(name) for name in miniatures.kinds()]
    parts = {
        "numbers": numbers(found),
        "models": generate.table(HEAD, [cells for cells in found if not _is_missing(cells)]),
        "missing": generate.table(HEAD, [cells for cells in found if _is_missing(cells)]),
    }
    text = PAGE.read_text(encoding="utf-8")
    for name, part in parts.items():
        text = generate.between(text, name, part, PAGE.name)
    PAGE.write_text(text, encoding="utf-8")
    text = README.read_text(encoding="utf-8")
    README.write_text(re.sub(r"\d+ of \d+\s+classes", in_readme(found), text), encoding="utf-8")


def row(name: str) -> list[str]:
    """Make a miniature of a class, and return the row of the class."""
    with tempfile.TemporaryDirectory() as folder:
        verdict = verdicts.verdict(name, folder)
    model_type = getattr(transformers, name).config_class.model_type
    return [f"`{name}`", f"`{model_type}`", ", ".join(miniatures.kinds()[name]), verdict]


def line(cells: list[str]) -> str:
    """Return a row as a line of the page."""
    return generate.table(HEAD, [cells]).splitlines()[-1]


def rows(text: str) -> list[list[str]]:
    """Return the rows of the tables of the page, in the order of the classes."""
    return sorted(
        cells.split(" | ", 3) for cells in re.findall(r"^\| (`.*) \|$", text, re.MULTILINE)
    )


def numbers(found: list[list[str]]) -> str:
    """Return the sentences with the numbers of classes and the versions of the packages."""
    counts = _counts(found)
    versions = [
        f"{each.__name__} {each.__version__.split('+')[0]}" for each in (transformers, torch)
    ]
    n_made = len(found) - counts[MISSING]
    return (
        f"\n{n_made} classes have a miniature, and {counts[MISSING]} have none. Of the miniatures, "
        f"**{counts['measured']} are measured**,\n{counts['refused']} are refused, and "
        f"{counts['fails']} fail. The versions are {' and '.join(versions)}.\n\n"
    )


def in_readme(found: list[list[str]]) -> str:
    """Return the number of measured classes, as the README states it."""
    counts = _counts(found)
    return f"{counts['measured']} of {len(found) - counts[MISSING]} classes"


def _counts(found: list[list[str]]) -> Counter[str]:
    return Counter(cells[-1].partition(":")[0] for cells in found)


def _is_missing(cells: list[str]) -> bool:
    return cells[-1].startswith(MISSING)


if __name__ == "__main__":
    main()
