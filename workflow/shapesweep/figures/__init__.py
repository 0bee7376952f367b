"""The figures: what a person looks at, one file each, named after the figure.

Takes in `<results>/curves/` and nothing else; hands on `<figure>.svg`, `.pdf`, `.png`, and in
`<figure>.csv` the numbers that are drawn. `docs/how-to/add-a-figure.md` tells how to add one.
"""

import textwrap
from collections.abc import Callable
from dataclasses import dataclass
from importlib import resources
from pathlib import Path

import matplotlib as mpl
import pandas as pd
from matplotlib.figure import Figure as Canvas

from shapesweep.errors import ShapesweepError, near
from shapesweep.plugins import discover
from shapesweep.storage import failures

mpl.use("Agg")
from matplotlib import pyplot as plt

from shapesweep.curves.tables import Curves

#: One column of a journal page, in inches.
WIDTH = 3.4
EXTENSIONS = ("svg", "pdf", "png", "csv")


@dataclass(frozen=True, kw_only=True)
class Figure:
    """A figure and what its reader is told.

    Attributes
    ----------
    data : callable
        From `Curves` to the rows that are drawn, no more and no less: they become the CSV.
    draw : callable
        From those rows, of which there is at least one, to a matplotlib figure.
    title, category : str
        Where the report shows it.
    caption : str
        What is drawn, and how to read it; reStructuredText.
    absent : str
        What is said where there are no rows.
    of_paper : bool
        Whether the paper has one like it: `snakemake paper` draws it.
    """

    data: Callable[[Curves], pd.DataFrame]
    draw: Callable[[pd.DataFrame], Canvas]
    title: str
    category: str
    caption: str
    absent: str = "no checkpoint could be measured"
    of_paper: bool = False

    def __post_init__(self) -> None:
        # Snakemake's report takes these for wildcards.
        if set("{}") & set(self.title + self.category):
            raise ValueError(f"title and category of a figure hold no braces: {self.title}")


def draw(name: str, curves: Path, out: Path) -> None:
    """Draw a figure.

    Parameters
    ----------
    name : str
        Of `FIGURES`.
    curves : path-like
        Folder of the curves' tables.
    out : path-like
        Folder for `<name>.svg`, `.pdf`, `.png` and `.csv`.

    Raises
    ------
    ShapesweepError
        If there is no such figure, or a table is absent or damaged.
    """
    if name not in FIGURES:
        raise ShapesweepError(f"there is no figure {name!r}{near(name, FIGURES)}")
    out, one = Path(out), FIGURES[name]
    known = Curves.read(Path(curves))
    data = one.data(known)
    out.mkdir(parents=True, exist_ok=True)
    told = data.dropna(axis="columns", how="all")
    told.to_csv(out / f"{name}.csv", index=False, float_format="%.6g")
    style = resources.files("shapesweep") / "shapesweep.mplstyle"
    with resources.as_file(style) as path, plt.style.context(path):
        figure = one.draw(data) if len(data) else _nothing(one.absent)
        _name_missing(figure, known.missing)
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
    rows = [*missing.sort_values("measured", kind="stable").itertuples()]
    for kind in dict.fromkeys(map(failures.kind, rows)):
        names = [failures.name(row) for row in rows if failures.kind(row) == kind]
        more = f" and {len(names) - 3} more" if len(names) > 3 else ""
        if names:
            line = f"{kind}: {', '.join(names[:3])}{more}"
            lines.append(textwrap.fill(line, width=64, break_on_hyphens=False))
    note(figure, "\n".join(lines))


def _nothing(why: str) -> Canvas:
    figure, ax = plt.subplots(figsize=(WIDTH, 1.2))
    ax.text(0.5, 0.5, textwrap.fill(why, 56), ha="center", va="center", transform=ax.transAxes)
    ax.axis("off")
    return figure


#: Every figure by its name; the workflow draws them all.
FIGURES: dict[str, Figure] = discover(__name__, Figure, "FIGURE")
