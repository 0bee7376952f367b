"""A report in Markdown that compares the numbers of a paper's authors with ours."""

import pandas as pd

from shapesweep.curves.comparison import counted


def as_markdown(comparison: pd.DataFrame) -> str:
    """Format the comparison as a Markdown table."""
    lines = [
        "# The authors' numbers compared with ours",
        "",
        "The authors' numbers (Razzhigaev et al. 2024) come from the stored outputs of the "
        "notebooks in AIRI-Institute/LLM-Microscope. Layers are indices of `hidden_states`. The "
        "tolerance is 0.01 for the anisotropy, and 0.15 + 11.6 % for the ID. This tolerance "
        "covers the precision at which the authors' numbers can be read, and the difference "
        "between two draws of the same text. `not run`: the model was not measured. `other "
        "sampling`: the number of tokens differs from the authors' number (13,764 or 14,993), so "
        "the values cannot be compared.",
        "",
        f"{len(comparison)} numbers: {counted(comparison)}.",
        "",
        "| model | metric | layer | theirs | tolerance | ours (95 % over documents) | |",
        "|---|---|---|---|---|---|---|",
    ]
    for row in comparison.itertuples():
        ours = ""
        if row.verdict != "not run":
            ours = f"{row.ours:.3f} ({row.ours_low:.3f} to {row.ours_high:.3f})"
        cells = [row.run, row.metric, row.layer, f"{row.theirs:g}", f"{row.tolerance:.3f}", ours]
        lines.append(f"| {' | '.join(map(str, cells))} | {row.verdict} |")
    return "\n".join(lines) + "\n"
