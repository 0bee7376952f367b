"""How often each family of signals announced an explosion, with a limit on false alarms."""

import pandas as pd

from shapesweep.curves.tables import Curves
from shapesweep.explosions.scoring import HORIZON, LEAST, corrected
from shapesweep.figures import Canvas, Figure, note
from shapesweep.figures._panels import GRAY, PALETTE, grid


def data(curves: Curves) -> pd.DataFrame:
    """Select the families of signals of the first scored suite, with the best family last."""
    found = curves.warnings[curves.warnings.level == "family"]
    found = found[found.suite == found.suite.iloc[0]] if len(found) else found
    return found.sort_values(["detection", "lead"], ascending=[True, True], kind="stable")


def early_warning(shown: pd.DataFrame) -> Canvas:
    """For each family, draw the share of announced explosions, the share by chance and the lead."""
    figure, axes = grid([""], ["", ""], 0.24 * len(shown) + 0.5)
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
    detection.set_xlabel("share of explosions\nannounced")
    interval, horizon = int(shown.interval.iloc[0]), int(shown.horizon.iloc[0])
    lead.axvspan(0, interval, color=GRAY, alpha=0.3, lw=0)
    lead.set_xlim(0, horizon)
    lead.set_xlabel("median lead (steps)")
    first, level = shown.iloc[0], 100 * corrected(len(shown))
    note(
        figure,
        f"{first.n_unstable} exploding and {first.n_stable} stable runs; at most {first.rate:g} "
        f"false alarm in 1,000 steps\nlines: {level:.3g} % intervals (left), 95 % intervals "
        "(right)\nvertical marks: share by chance; gray: leads too short to resolve",
    )
    return figure


FIGURE = Figure(
    data=data,
    draw=early_warning,
    title="Does anything warn of a loss explosion?",
    category="Loss explosions",
    caption="For each family of signals, the left panel shows the share of exploding runs in which "
    f"a change detector raised an alarm in the {HORIZON} steps before the explosion of the loss. "
    "The right panel shows the median lead, which is the number of steps from the first of these "
    "alarms to the explosion. All detectors have the same limit on the rate of false alarms in "
    "stable runs. In a family of several signals, each run is scored with the signal that is best "
    "on all other runs. The horizontal lines are confidence intervals. On the left, they come from "
    "resampling the runs, and their confidence level is raised to correct for the number of "
    "families. On the right, they are 95 % intervals from order statistics. The vertical marks "
    "show the share that random alarms would announce by chance, at the limit on false alarms or "
    "at the measured rate of false alarms, whichever is higher. A lead in the gray range (open "
    "circle) is not longer than the interval between two samples, so it cannot be resolved.",
    needs=f"{LEAST} probed runs whose loss exploded and {LEAST} probed runs whose loss did not "
    "explode (`snakemake spikes`)",
)
