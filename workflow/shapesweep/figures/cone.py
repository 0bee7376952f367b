"""Illustration of centring: a narrow cone of points becomes a ball."""

import numpy as np
import pandas as pd

from shapesweep.curves.tables import Curves
from shapesweep.estimators.spectrum import eigenvalues, leading_share, mean_cosine
from shapesweep.figures import Canvas, Figure, note
from shapesweep.figures._panels import FAMILIES, GRAY, grid

#: Number of points, number of features, and distance between the ball's centre and the origin. The
#: distance is in standard deviations.
N, FEATURES, DISTANCE = 600, 16, 12.0


def data(_curves: Curves) -> pd.DataFrame:
    """Sample a round cloud far from the origin; return two features, before and after centring."""
    rng = np.random.default_rng(0)
    points = rng.standard_normal((N, FEATURES))
    points[:, 0] += DISTANCE
    parts = []
    for name, cloud in (("before", points), ("after", points - points.mean(axis=0))):
        numbers = {
            "share": leading_share(eigenvalues(cloud, centred=False)),
            "mean_cosine": mean_cosine(cloud),
        }
        columns = {"centring": name, "x": cloud[:, 0], "y": cloud[:, 1]}
        parts.append(pd.DataFrame(columns | numbers))
    return pd.concat(parts)


def cone(shown: pd.DataFrame) -> Canvas:
    """Draw the points before and after centring at the same scale, with their metrics."""
    figure, axes = grid(["feature 2"], ["", ""], 2.0, "feature 1")
    for ax, (name, part) in zip(axes[0], shown.groupby("centring", sort=False), strict=True):
        ax.plot(part.x, part.y, ".", color=FAMILIES["encoder"], ms=1.5, alpha=0.6)
        ax.plot(0, 0, "+", color="black", ms=6)
        if name == "before":
            slope = np.quantile(np.abs(part.y / part.x), 0.99)
            for sign in (-1, 1):
                ax.plot([0, part.x.max()], [0, sign * slope * part.x.max()], color=GRAY, lw=0.6)
        row = part.iloc[0]
        ax.set_title(
            f"{name} centring\nmean cosine {row.mean_cosine:.2f}".replace("-0.00", "0.00")
            + f"\nσ₁²/Σσᵢ² = {row.share:.2f}"
        )
        ax.set_xlim(-9, 17)
        ax.set_ylim(-13, 13)
        ax.set_aspect("equal")
    note(figure, f"{N} points with {FEATURES} features; + marks the origin")
    return figure


FIGURE = Figure(
    data=data,
    draw=cone,
    title="The cone that centring turns into a ball",
    category="What is measured",
    caption="Seen from the origin, a round cloud far from the origin looks like a cone: all points "
    "lie in nearly the same direction, and the leading axis of the uncentred matrix is the "
    "direction of the mean. After centring, the cloud is a ball around the origin. The clouds of "
    "encoders look like this cloud, so anisotropy is computed from the centred matrix.",
)
