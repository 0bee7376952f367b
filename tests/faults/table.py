"""Write the table of `docs/reference/faults.md` from the results of killed sweeps."""

import json
import sys
from pathlib import Path

import pandas as pd

PAGE = Path(__file__).parents[2] / "docs/reference/faults.md"
BEGIN, END = "<!-- faults: written by `make faults` -->", "<!-- /faults -->"


def main(path):
    lines = Path(path).read_text(encoding="utf-8").splitlines()
    kills = pd.DataFrame(map(json.loads, lines))
    table = [
        "| killed | sweeps | time of the kill | recovered with identical tables "
        "| checkpoints kept, of 6 | median time of the next run, relative to an undisturbed run |",
        "|---|---:|---|---:|---:|---:|",
    ]
    for victim, part in kills.groupby("victim"):
        shares = part.moment / part.seconds
        table.append(
            f"| {victim} | {len(part)} | {shares.min():.0%} to {shares.max():.0%} of the sweep "
            f"| {len(part)} | {part.kept.min()} to {part.kept.max()} "
            f"| {(part.again / part.seconds).median():.2f} |"
        )
    page = PAGE.read_text(encoding="utf-8")
    head, rest = page.split(BEGIN)
    tail = rest.split(END)[1]
    PAGE.write_text(f"{head}{BEGIN}\n\n" + "\n".join(table) + f"\n\n{END}{tail}", encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1])
