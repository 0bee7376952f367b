"""The figures on the page, with their captions and their data as CSV."""

import base64
from pathlib import Path
from typing import Any

from docutils.core import publish_parts
from markupsafe import Markup

from shapesweep.figures import FIGURES

#: Maximum size of an SVG or CSV file on the page, in bytes. If the SVG of a figure exceeds this
#: size, the page shows the PNG of the figure.
BOUND = 1_000_000


def gallery(folder: Path, bound: int = BOUND) -> list[dict[str, Any]]:
    """List the figures that were drawn, grouped by category.

    Parameters
    ----------
    folder : Path
        Folder of the figures (`<results>/figures`).
    bound : int
        Maximum size of an SVG or CSV file, in bytes.

    Returns
    -------
    list of dict
        One dict per category, with the keys `category` and `figures`. Each figure is a dict with
        `name`, `title`, `caption` (HTML), `image` (a data URL), `kind` (svg or png), `csv` (text or
        None), and `too_large` (names of files that are too large for the page).
    """
    by_category: dict[str, list[dict[str, Any]]] = {}
    for name, figure in FIGURES.items():
        if (folder / f"{name}.svg").is_file():
            by_category.setdefault(figure.category, []).append(_entry(folder, name, bound))
    return [{"category": category, "figures": found} for category, found in by_category.items()]


def _entry(folder: Path, name: str, bound: int) -> dict[str, Any]:
    svg, csv = folder / f"{name}.svg", folder / f"{name}.csv"
    has_csv = csv.is_file() and csv.stat().st_size > 1
    too_large = [p.name for p in (svg, csv) if p.is_file() and p.stat().st_size > bound]
    kind = "png" if svg.name in too_large else "svg"
    content = base64.b64encode((folder / f"{name}.{kind}").read_bytes()).decode()
    mime = {"png": "image/png", "svg": "image/svg+xml"}[kind]
    figure = FIGURES[name]
    return {
        "name": name,
        "title": figure.title,
        "caption": as_html(figure.caption),
        "kind": kind,
        "image": f"data:{mime};base64,{content}",
        "csv": csv.read_text("utf-8") if has_csv and csv.name not in too_large else None,
        "too_large": too_large,
    }


def as_html(caption: str) -> Markup:
    """Convert a caption from reStructuredText to HTML."""
    quiet = {"report_level": 5, "file_insertion_enabled": False, "raw_enabled": False}
    return Markup(publish_parts(caption, writer="html5", settings_overrides=quiet)["body"])
