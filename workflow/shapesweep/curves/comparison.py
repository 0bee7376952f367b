"""The comparison: the authors' own numbers beside ours, where their models were measured.

Theirs are read from the outputs that are stored in the notebooks of AIRI-Institute/LLM-Microscope;
`authors.csv` has them, by the index of `hidden_states`.
"""

from importlib import resources

import numpy as np
import pandas as pd

from shapesweep import tables

#: What two numbers may differ by, set before any of ours was seen. Of the anisotropy: theirs are
#: read off a figure to 0.005, and two draws of 128 chunks differ by as much. Of the ID: read off to
#: 0.15, and two draws of tokens differ by 5.8 % in the median, twice which most stay within.
READ_OFF = {"anisotropy": 0.005, "id_twonn_paper": 0.15}
DRAWN = {"anisotropy": 0.005, "id_twonn_paper": 0.0}
DRAWN_SHARE = {"anisotropy": 0.0, "id_twonn_paper": 2 * 0.058}


def authors() -> pd.DataFrame:
    """The authors' numbers: run, metric, layer, value."""
    path = resources.files("shapesweep") / "authors.csv"
    return pd.read_csv(path.open(encoding="utf-8"))


def comparison(profiles: pd.DataFrame) -> pd.DataFrame:
    """The authors' numbers beside ours: `tables.COMPARISON`.

    Parameters
    ----------
    profiles : pandas.DataFrame
        `tables.PROFILES`: of the text with all tokens, as the authors measured, those of a run
        with the model's name and without steps, or of its last step.

    Returns
    -------
    pandas.DataFrame
        `verdict` is `agrees` or `differs`, by the tolerance, or `not run`.
    """
    asked = {"over": "documents", "corpus": "text", "selection": "all", "layer_kind": "block"}
    ours = profiles
    for name, value in asked.items():
        ours = ours[ours[name] == value]
    ours = ours.sort_values("step", kind="stable", na_position="first")
    ours = ours.drop_duplicates(["run", "metric", "layer"], keep="last")
    ours = ours.rename(columns={"value": "ours", "low": "ours_low", "high": "ours_high"})
    columns = ["run", "metric", "layer", "ours", "ours_low", "ours_high", "n_points"]
    theirs = authors().rename(columns={"value": "theirs"})
    theirs["tolerance"] = (
        theirs.metric.map(READ_OFF)
        + theirs.metric.map(DRAWN)
        + theirs.metric.map(DRAWN_SHARE) * theirs.theirs
    )
    made = theirs.merge(ours[columns], on=["run", "metric", "layer"], how="left")
    off = (made.ours - made.theirs).abs().to_numpy(dtype=float, na_value=np.nan)
    verdicts = np.where(off <= made.tolerance, "agrees", "differs")
    made["verdict"] = np.where(np.isnan(off), "not run", verdicts)
    return made[tables.COMPARISON.names]


def as_markdown(made: pd.DataFrame) -> str:
    """The comparison as a table that a person reads."""
    counts = made.verdict.value_counts()
    told = ", ".join(f"{counts.get(name, 0)} {name}" for name in ("agrees", "differs", "not run"))
    lines = [
        "# The authors' numbers beside ours",
        "",
        "Razzhigaev et al. 2024, as stored in the notebooks of AIRI-Institute/LLM-Microscope; "
        "layers are indices of `hidden_states`. The tolerance is what theirs are read off to and "
        "what two draws of the same text differ by: 0.01 of the anisotropy, 0.15 + 11.6 % of the "
        "ID. `not run`: the model's weights were not reached.",
        "",
        f"{len(made)} numbers: {told}.",
        "",
        "| model | metric | layer | theirs | tolerance | ours (95 % over documents) | |",
        "|---|---|---|---|---|---|---|",
    ]
    for row in made.itertuples():
        ours = ""
        if row.verdict != "not run":
            ours = f"{row.ours:.3f} ({row.ours_low:.3f} to {row.ours_high:.3f})"
        cells = [row.run, row.metric, row.layer, f"{row.theirs:g}", f"{row.tolerance:.3f}", ours]
        lines.append(f"| {' | '.join(map(str, cells))} | {row.verdict} |")
    return "\n".join(lines) + "\n"
