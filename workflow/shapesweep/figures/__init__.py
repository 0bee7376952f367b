"""The figures: what a person looks at, one file each, named after the figure.

Takes in `<results>/curves/` and nothing else; hands on `<figure>.svg`, `.pdf` and
`.png`. `docs/how-to/add-a-figure.md` tells how to add one.
"""

import textwrap
from collections.abc import Callable
from dataclasses import dataclass
from importlib import resources
from pathlib import Path

import matplotlib as mpl
import pandas as pd
from matplotlib.figure import Figure as Canvas

from shapesweep import failures, tables
from shapesweep.errors import ShapesweepError
from shapesweep.registry import discover
from shapesweep.schema import near

mpl.use("Agg")
from matplotlib import pyplot as plt

#: One column of a journal page, in inches.
WIDTH = 3.4


@dataclass(frozen=True)
class Curves:
    """What the figures draw: the tables of `<results>/curves/`."""

    profiles: pd.DataFrame
    trajectories: pd.DataFrame
    missing: pd.DataFrame

    @property
    def runs(self) -> list[tuple[str, str, str]]:
        """(suite, run, family) in the order of the tables, decoders first."""
        runs = self.profiles[["suite", "run", "family"]].drop_duplicates()
        return sorted(runs.itertuples(index=False, name=None), key=lambda run: run[2])

    @property
    def corpora(self) -> list[str]:
        """The corpora in the order of the configuration's tables, the text first."""
        present = list(dict.fromkeys(self.profiles.corpus))
        return sorted(present, key=lambda corpus: corpus != "text")


@dataclass(frozen=True, kw_only=True)
class Figure:
    """A figure and what its reader is told.

    Attributes
    ----------
    draw : callable
        From `Curves` (with at least one checkpoint) to a matplotlib figure.
    title, category : str
        Where the report shows it.
    caption : str
        What is drawn, and how to read it; reStructuredText.
    """

    draw: Callable[[Curves], Canvas]
    title: str
    category: str
    caption: str


def draw(name: str, curves: Path, out: Path) -> None:
    """Draw a figure.

    Parameters
    ----------
    name : str
        Of `FIGURES`.
    curves : path-like
        Folder of the curves' tables.
    out : path-like
        Folder for `<name>.svg`, `.pdf` and `.png`.

    Raises
    ------
    ShapesweepError
        If there is no such figure, or a table is absent or damaged.
    """
    if name not in FIGURES:
        raise ShapesweepError(f"there is no figure {name!r}{near(name, FIGURES)}")
    curves, out = Path(curves), Path(out)
    data = Curves(
        tables.read(curves / "profiles.parquet", tables.PROFILES),
        tables.read(curves / "trajectories.parquet", tables.TRAJECTORIES),
        tables.read(curves / "missing.parquet", tables.FAILURES),
    )
    out.mkdir(parents=True, exist_ok=True)
    style = resources.files("shapesweep") / "shapesweep.mplstyle"
    with resources.as_file(style) as path, plt.style.context(path):
        figure = FIGURES[name].draw(data) if len(data.profiles) else _nothing()
        _name_missing(figure, data.missing)
        for extension in ("svg", "pdf", "png"):
            # Without a date the same curves give the same file.
            undated = {"png": {}, "svg": {"Date": None}, "pdf": {"CreationDate": None}}
            figure.savefig(out / f"{name}.{extension}", metadata=undated[extension])
        plt.close(figure)


def note(figure: Canvas, text: str) -> None:
    """Say above a figure what it shows: its corpus, its N, its documents."""
    figure.suptitle(text, fontsize=6, color="#555555")


def _name_missing(figure: Canvas, missing: pd.DataFrame) -> None:
    if not len(missing):
        return
    lines = [figure.get_suptitle()] if figure.get_suptitle() else []
    for measured, words in ((False, "not measured"), (True, "doubtful")):
        names = [failures.name(row) for row in missing[missing.measured == measured].itertuples()]
        more = f" and {len(names) - 3} more" if len(names) > 3 else ""
        if names:
            lines.append(textwrap.fill(f"{words}: {', '.join(names[:3])}{more}", width=64))
    note(figure, "\n".join(lines))


def _nothing() -> Canvas:
    figure, ax = plt.subplots(figsize=(WIDTH, 1.5))
    ax.text(0.5, 0.5, "no checkpoint could be measured", ha="center", transform=ax.transAxes)
    ax.axis("off")
    return figure


#: Every figure by its name; the workflow draws them all.
FIGURES: dict[str, Figure] = discover(__name__, Figure, "FIGURE")
