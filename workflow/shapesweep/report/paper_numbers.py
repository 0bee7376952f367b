"""The report in Markdown on the comparison with the authors' numbers."""

import pandas as pd

from shapesweep.curves.comparison import counted


def as_markdown(comparison: pd.DataFrame) -> str:
    """Format the comparison as a Markdown table."""
    lines = [
        "# The authors' numbers beside ours",
        "",
        "Razzhigaev et al. 2024, as stored in the notebooks of AIRI-Institute/LLM-Microscope; "
        "layers are indices of `hidden_states`. The tolerance is what theirs are read off to and "
        "what two draws of the same text differ by: 0.01 of the anisotropy, 0.15 + 11.6 % of the "
        "ID. `not run`: the model's weights were not reached. `other sampling`: it was shown "
        "another number of tokens than theirs (13,764 and 14,993), so nothing can be said.",
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
