"""The report page of a sweep: one HTML file with all results, which needs no network.

The module `numbers` prepares the curves for the page. The module `record` prepares the lists, and
the module `gallery` prepares the figures.
"""

import base64
import hashlib
import json
from importlib import resources
from pathlib import Path
from typing import Any

import jinja2
import pandas as pd
from markupsafe import Markup
from plotly.offline import get_plotlyjs

from shapesweep import __version__
from shapesweep.curves.tables import Curves, checkpoints
from shapesweep.errors import ShapesweepError
from shapesweep.report import sentences
from shapesweep.report.page import gallery, numbers, record
from shapesweep.storage import atomic, schemas, tables

#: Names of the tables whose numbers are on the page. The numbers of all other tables appear only
#: in figures.
CURVES = ("profiles", "trajectories", "phases", "moves", "verdicts", "shapes", "missing")


def write(results: str | Path, out: str | Path, bound: int = numbers.BOUND) -> Path:
    """Write the report page of a sweep.

    Parameters
    ----------
    results : path-like
        Folder of the results.
    out : path-like
        HTML file to write; it is written atomically.
    bound : int
        Maximum total size of the curves on the page, in characters.

    Returns
    -------
    Path
        `out`.

    Raises
    ------
    ShapesweepError
        If a table or file is absent or damaged.
    """
    results, out = Path(results), Path(out)
    text = render(**read(results), bound=bound)
    out.parent.mkdir(parents=True, exist_ok=True)
    with atomic.file(out) as partial:
        partial.write_text(text, encoding="utf-8")
    return out


def read(results: Path) -> dict[str, Any]:
    """Read the data of the page, and return them as keyword arguments for `render`."""
    curves = Curves.read(results / "curves")
    return {
        **{n: getattr(curves, n) for n in CURVES},
        "origins": tables.read(results / "origins.parquet", schemas.ORIGINS),
        "manifest": tables.read(results / "manifest.parquet", schemas.MANIFEST),
        "figures": gallery.gallery(results / "figures"),
        "summary": _text(results / "summary.txt"),
        "config": _text(results / "config.yaml"),
    }


def render(
    profiles: pd.DataFrame,
    trajectories: pd.DataFrame,
    phases: pd.DataFrame,
    moves: pd.DataFrame,
    verdicts: pd.DataFrame,
    shapes: pd.DataFrame,
    missing: pd.DataFrame,
    origins: pd.DataFrame,
    manifest: pd.DataFrame,
    figures: list[dict[str, Any]],
    summary: str,
    config: str,
    bound: int = numbers.BOUND,
) -> str:
    """Render the page as HTML.

    Parameters
    ----------
    profiles, trajectories, phases, moves, verdicts, shapes, missing : pandas.DataFrame
    origins, manifest : pandas.DataFrame
        Tables of the sweep.
    figures : list of dict
        Result of `gallery.gallery`.
    summary, config : str
        The summary, and the configuration in YAML.
    bound : int
        As in `write`.

    Returns
    -------
    str
        HTML of the whole page. The content security policy of the page forbids the browser to load
        other files.
    """
    data = numbers.pack(profiles, trajectories, phases, moves, shapes, bound)
    tables_of_figures = {f["name"]: f["csv"] for part in figures for f in part["figures"]}
    scripts = [get_plotlyjs(), _resource("page.js")]
    environment = jinja2.Environment(
        autoescape=True, trim_blocks=True, lstrip_blocks=True, undefined=jinja2.StrictUndefined
    )
    environment.filters["thousands"] = lambda n: "" if n is None else f"{n:,}"
    measured = checkpoints(profiles)
    return environment.from_string(_resource("page.html")).render(
        suites=list(dict.fromkeys(measured.suite)),
        n_runs=len(measured[["suite", "run"]].drop_duplicates()),
        n_checkpoints=len(measured),
        n_missing=int((~missing.measured.astype(bool)).sum()),
        # On the page, the finding on the phases of the ID comes before the finding on the
        # anisotropy.
        findings=[
            {"title": run.title, "sentences": [*sentences.on_phases(run), *sentences.on_dome(run)]}
            for run in sentences.runs(profiles, trajectories, phases, moves, verdicts, shapes)
        ],
        of_seeds=sentences.on_seeds(verdicts, trajectories),
        summary=summary,
        config=config,
        integrity=record.integrity(missing, manifest),
        checkpoints=record.checkpoints(manifest, origins),
        corpora=record.corpora(origins),
        versions=record.versions(origins),
        seeds=record.seeds(profiles),
        gallery=figures,
        left_out=data.pop("left_out"),
        bound=bound,
        data=as_json({**data, "csv": tables_of_figures}),
        style=Markup(_resource("page.css")),
        scripts=[Markup(script) for script in scripts],
        digests=[_digest(script) for script in scripts],
        version=__version__,
    )


def as_json(data: dict[str, Any]) -> Markup:
    """Format data as JSON that is safe in a script element: no string can end the element."""
    text = json.dumps(data, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
    return Markup(text.replace("<", "\\u003c"))


def _digest(script: str) -> str:
    """Compute the digest of a script for the content security policy."""
    return "sha256-" + base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()


def _resource(name: str) -> str:
    return (resources.files(__name__) / name).read_text(encoding="utf-8")


def _text(path: Path) -> str:
    if not path.is_file():
        raise ShapesweepError(f"{path}: no such file; run snakemake first")
    return path.read_text(encoding="utf-8")
