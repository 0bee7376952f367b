"""Early warning: which signals announced loss explosions, at an equal rate of false alarms."""

import pandas as pd

from shapesweep.curves.tables import Curves
from shapesweep.explosions.scoring import HORIZON, LEAST, corrected
from shapesweep.figures import Canvas, Figure, note
from shapesweep.figures._panels import GRAY, PALETTE, grid


def data(curves: Curves) -> pd.DataFrame:
    """The families of signals of the first suite that was scored, the best last."""
    found = curves.warnings[curves.warnings.level == "family"]
    found = found[found.suite == found.suite.iloc[0]] if len(found) else found
    return found.sort_values(["detection", "lead"], ascending=[True, True], kind="stable")


def early_warning(shown: pd.DataFrame) -> Canvas:
    """A row a family: how many explosions it announced, how long before, and by chance."""
    figure, axes = grid(1, 2, 0.24 * len(shown) + 0.5)
    detection, lead = axes[0]
    heights = range(len(shown))
    for y, family in zip(heights, shown.itertuples(), strict=True):
        color = PALETTE[0] if str(family.family).startswith("ID") else "black"
        detection.plot([family.detection_low, family.detection_high], [y, y], color=color, lw=0.9)
        detection.plot(family.detection, y, "o", color=color, ms=3.5)
        detection.plot(family.chance, y, "|", color=PALETTE[1], ms=7)
        if pd.notna(family.lead):
            ends = [family.lead_low, family.lead_high]
            lead.plot(ends, [y, y], color=color, lw=0.9)
            face = color if family.resolved else "white"
            lead.plot(family.lead, y, "o", color=color, mfc=face, ms=3.5)
    detection.set_yticks(heights, shown.family)
    lead.set_yticks(heights, [""] * len(shown))
    for ax in (detection, lead):
        ax.set_ylim(-0.5, len(shown) - 0.5)
    detection.set_xlim(-0.03, 1.03)
    detection.set_xlabel("share announced")
    interval, horizon = int(shown.interval.iloc[0]), int(shown.horizon.iloc[0])
    lead.axvspan(0, interval, color=GRAY, alpha=0.3, lw=0)
    lead.set_xlim(0, horizon)
    lead.set_xlabel("median lead, steps")
    first, level = shown.iloc[0], 100 * corrected(len(shown))
    note(
        figure,
        f"{first.n_unstable} exploding and {first.n_stable} stable runs; at most {first.rate:g} "
        f"false alarm in 1,000 steps\nleft: {level:.3g} % over runs; upright: by chance; "
        "right: 95 %; shaded: unresolved",
    )
    return figure


FIGURE = Figure(
    data=data,
    draw=early_warning,
    title="Does anything warn of a loss explosion?",
    category="Loss explosions",
    caption="Of every family of signals, in how many runs a change detector raised an alarm in the "
    f"{HORIZON} steps before the loss exploded, strictly before it, and how many steps before. All "
    "detectors raise as few false alarms on stable runs; in a family of several signals each run "
    "is spoken for by the one that does best on the other runs. Intervals are by resampling the "
    "runs, corrected for the number of families. Upright: how many would be met by chance at that "
    "rate of alarms.",
    needs=f"{LEAST} probed runs whose loss exploded and {LEAST} whose did not (`snakemake spikes`)",
)
