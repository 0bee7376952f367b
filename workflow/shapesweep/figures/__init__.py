"""The figures, one module per figure (see `docs/how-to/add-a-figure.md`).

Input: the tables of curves.
Output: `<figure>.svg`, `.pdf` and `.png`, and `<figure>.csv` with the rows that the figure shows.
Imported by: report (captions), cli. Matplotlib is imported only while a figure is drawn.
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
from shapesweep.storage import atomic, axis, failures
from shapesweep.storage.axis import Runs

if TYPE_CHECKING:
    from matplotlib.figure import Figure as Canvas
else:
    #: A matplotlib figure. `Any` avoids the import of matplotlib, which captions do not need.
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
        Function that takes `Curves`, and returns exactly the rows that are drawn. These rows are
        also written to the CSV. If there are no rows, the figure is not drawn.
    draw : callable
        Function that takes the rows from `data`, and returns a matplotlib figure.
    title, category : str
        Title of the figure, and the heading in the report under which it appears.
    caption : str
        Description of what is drawn and how to read it, in reStructuredText.
    needs : str
        What a sweep must measure so that `data` returns rows. This text appears in the
        documentation, and in the message that a figure was not drawn.
    """

    data: Callable[[Curves], pd.DataFrame]
    draw: Callable[[pd.DataFrame], Canvas]
    title: str
    category: str
    caption: str
    needs: str = ""

    def __post_init__(self) -> None:
        # Snakemake's report interprets braces as wildcards.
        if set("{}") & set(self.title + self.category):
            raise ValueError(f"a figure's title and category must not contain braces: {self.title}")


def draw_all(curves: Path, out: Path) -> list[str]:
    """Draw every figure for which the tables contain data.

    Parameters
    ----------
    curves : path-like
        Folder with the tables of curves.
    out : path-like
        Folder for the figures. An existing folder is replaced.

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
    """Draw the named figures for which the tables contain data.

    Parameters
    ----------
    names : sequence of str
        Keys of `FIGURES`.
    curves : path-like
        Folder with the tables of curves.
    out : path-like
        Folder for `<name>.svg`, `.pdf`, `.png` and `.csv`. Other files in the folder are kept.

    Returns
    -------
    list of str
        Names of the figures that were drawn.

    Raises
    ------
    ShapesweepError
        If a given name belongs to no figure, or if a table is absent or damaged.
    """
    for name in names:
        if name not in FIGURES:
            raise ShapesweepError(f"there is no figure {name!r}{near(name, FIGURES)}")
    known, out = Curves.read(Path(curves)), Path(out)
    out.mkdir(parents=True, exist_ok=True)
    rows = {name: FIGURES[name].data(known) for name in names}
    with_rows = {name: found for name, found in rows.items() if len(found)}
    for name, found in with_rows.items():
        _draw(FIGURES[name], found, known, out / name)
    return list(with_rows)


def note(figure: Canvas, text: str) -> None:
    """Write a note above a figure, for example its corpus and its number of points."""
    figure.suptitle(text, fontsize=6, color="#555555")


def _draw(figure: Figure, rows: pd.DataFrame, curves: Curves, path: Path) -> None:
    """Draw a figure, and save one file for each of `EXTENSIONS`."""
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot as plt

    columns = rows.dropna(axis="columns", how="all")
    columns.to_csv(path.with_suffix(".csv"), index=False, float_format="%.6g")
    style = resources.files("shapesweep") / "shapesweep.mplstyle"
    with resources.as_file(style) as style_file, plt.style.context(style_file):
        canvas = figure.draw(rows)
        _name_missing(canvas, curves.missing, axis.runs_on_tokens(curves.profiles))
        # Write no date, so that identical curves produce identical files.
        undated = {"svg": {"Date": None}, "pdf": {"CreationDate": None}, "png": {}}
        for extension, metadata in undated.items():
            canvas.savefig(path.with_suffix(f".{extension}"), metadata=metadata)
        plt.close(canvas)


def _name_missing(figure: Canvas, missing: pd.DataFrame, on_tokens: Runs) -> None:
    """Add the names of missing and doubtful checkpoints to the note of a figure."""
    if not len(missing):
        return
    lines = [figure.get_suptitle()] if figure.get_suptitle() else []
    rows = [*missing.sort_values("measured", kind="stable").itertuples()]
    for kind in dict.fromkeys(map(failures.kind, rows)):
        names = [failures.name(row, on_tokens) for row in rows if failures.kind(row) == kind]
        more = f" and {len(names) - 3} more" if len(names) > 3 else ""
        line = f"{kind}: {', '.join(names[:3])}{more}"
        lines.append(textwrap.fill(line, width=64, break_on_hyphens=False))
    note(figure, "\n".join(lines))


#: All figures by name.
FIGURES: dict[str, Figure] = discover(__name__, Figure, "FIGURE")
