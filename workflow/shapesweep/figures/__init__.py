"""Figures: one file each, named after the figure (see `docs/how-to/add-a-figure.md`).

In: the tables of curves.
Out: `<figure>.svg`, `.pdf`, `.png`, and in `<figure>.csv` the rows that it shows.
Imported by: report (captions), cli. A figure imports matplotlib only while it is drawn.
"""

import textwrap
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from shapesweep.curves.tables import Curves
from shapesweep.errors import ShapesweepError, near
from shapesweep.plugins import discover
from shapesweep.storage import atomic, failures

if TYPE_CHECKING:
    from matplotlib.figure import Figure as Canvas
else:
    #: A matplotlib figure. Plans and reports read captions, and need no matplotlib.
    Canvas = Any

#: Width of a column of a journal page, in inches.
WIDTH = 3.4
EXTENSIONS = ("svg", "pdf", "png", "csv")


@dataclass(frozen=True, kw_only=True)
class Figure:
    """A figure and its caption.

    Attributes
    ----------
    data : callable
        From `Curves` to exactly the rows that are drawn; they become the CSV. A figure without rows
        is not drawn.
    draw : callable
        From those rows to a matplotlib figure.
    title, category : str
        Where the report shows it.
    caption : str
        What is drawn, and how to read it; reStructuredText.
    needs : str
        What a sweep must have measured for the figure to have rows, for the documentation.
    """

    data: Callable[[Curves], pd.DataFrame]
    draw: Callable[[pd.DataFrame], Canvas]
    title: str
    category: str
    caption: str
    needs: str = ""

    def __post_init__(self) -> None:
        # Snakemake's report takes these for wildcards.
        if set("{}") & set(self.title + self.category):
            raise ValueError(f"title and category of a figure must not hold braces: {self.title}")


def draw_all(curves: Path, out: Path) -> list[str]:
    """Draw every figure that has rows.

    Parameters
    ----------
    curves : path-like
        Folder of the curves' tables.
    out : path-like
        Folder for the figures; a folder that exists is replaced.

    Returns
    -------
    list of str
        Names of the figures that were drawn.

    Raises
    ------
    ShapesweepError
        If a table is absent or damaged.
    """
    with atomic.folder(out) as partial:
        return draw(list(FIGURES), curves, partial)


def draw(names: Sequence[str], curves: Path, out: Path) -> list[str]:
    """Draw the figures that have rows.

    Parameters
    ----------
    names : sequence of str
        Of `FIGURES`.
    curves : path-like
        Folder of the curves' tables.
    out : path-like
        Folder for `<name>.svg`, `.pdf`, `.png` and `.csv`; other files in it are kept.

    Returns
    -------
    list of str
        Names of the figures that were drawn.

    Raises
    ------
    ShapesweepError
        If there is no such figure, or a table is absent or damaged.
    """
    for name in names:
        if name not in FIGURES:
            raise ShapesweepError(f"there is no figure {name!r}{near(name, FIGURES)}")
    known, out = Curves.read(Path(curves)), Path(out)
    out.mkdir(parents=True, exist_ok=True)
    rows = {name: FIGURES[name].data(known) for name in names}
    with_rows = {name: found for name, found in rows.items() if len(found)}
    for name, found in with_rows.items():
        _draw(FIGURES[name], found, known.missing, out / name)
    return list(with_rows)


def note(figure: Canvas, text: str) -> None:
    """Write above a figure what it shows: its corpus, its N, its documents."""
    figure.suptitle(text, fontsize=6, color="#555555")


def _draw(figure: Figure, rows: pd.DataFrame, missing: pd.DataFrame, path: Path) -> None:
    """Draw a figure to files of one path with several extensions."""
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot as plt

    columns = rows.dropna(axis="columns", how="all")
    columns.to_csv(path.with_suffix(".csv"), index=False, float_format="%.6g")
    style = resources.files("shapesweep") / "shapesweep.mplstyle"
    with resources.as_file(style) as style_file, plt.style.context(style_file):
        canvas = figure.draw(rows)
        _name_missing(canvas, missing)
        # Without a date the same curves give the same file.
        undated = {"svg": {"Date": None}, "pdf": {"CreationDate": None}, "png": {}}
        for extension, metadata in undated.items():
            canvas.savefig(path.with_suffix(f".{extension}"), metadata=metadata)
        plt.close(canvas)


def _name_missing(figure: Canvas, missing: pd.DataFrame) -> None:
    """Name checkpoints that are missing or doubtful."""
    if not len(missing):
        return
    lines = [figure.get_suptitle()] if figure.get_suptitle() else []
    rows = [*missing.sort_values("measured", kind="stable").itertuples()]
    for kind in dict.fromkeys(map(failures.kind, rows)):
        names = [failures.name(row) for row in rows if failures.kind(row) == kind]
        more = f" and {len(names) - 3} more" if len(names) > 3 else ""
        line = f"{kind}: {', '.join(names[:3])}{more}"
        lines.append(textwrap.fill(line, width=64, break_on_hyphens=False))
    note(figure, "\n".join(lines))


#: Every figure by its name.
FIGURES: dict[str, Figure] = discover(__name__, Figure, "FIGURE")
