"""Illustration of a local dimension: a rolled-up ribbon is still two-dimensional."""

import numpy as np
import pandas as pd

from shapesweep.curves.tables import Curves
from shapesweep.estimators.dimension import id_twonn
from shapesweep.estimators.spectrum import eigenvalues, lpca_dimension
from shapesweep.figures import WIDTH, Canvas, Figure, note
from shapesweep.figures._training import TRAINING
from shapesweep.neighbors import nearest_neighbors

#: Number of points, number of turns of the roll, and breadth of the ribbon. The breadth is a
#: multiple of the outer radius of the roll.
N, TURNS, BREADTH = 2000, 1.5, 2.0


def data(_curves: Curves) -> pd.DataFrame:
    """Sample points on a flat ribbon and on a rolled ribbon, and compute their metrics."""
    rng = np.random.default_rng(0)
    along, across = rng.uniform(size=N), rng.uniform(size=N) * BREADTH
    angle = 2 * np.pi * TURNS * along + np.pi / 2
    radius = 0.3 + 0.7 * along
    rolled = np.stack([radius * np.cos(angle), across, radius * np.sin(angle)], axis=1)
    flat = np.stack([np.pi * TURNS * (along - 0.5), across, np.zeros(N)], axis=1)
    parts = []
    for name, points in (("flat", flat), ("rolled", rolled)):
        distances, _ = nearest_neighbors(points, 2)
        numbers = {"id_twonn": id_twonn(distances), "id_lpca": lpca_dimension(eigenvalues(points))}
        columns = dict(zip("xyz", points.T, strict=True))
        parts.append(pd.DataFrame({"ribbon": name, "along": along, **columns, **numbers}))
    return pd.concat(parts)


def ribbon(shown: pd.DataFrame) -> Canvas:
    """Draw each ribbon in a three-dimensional panel; the colour of the points changes along it."""
    from matplotlib import pyplot as plt

    figure = plt.figure(figsize=(WIDTH, 1.9))
    for column, (name, part) in enumerate(shown.groupby("ribbon", sort=False), start=1):
        ax = figure.add_subplot(1, 2, column, projection="3d")
        ax.scatter(part.x, part.y, part.z, c=part.along, cmap=TRAINING, s=0.6, depthshade=False)
        row = part.iloc[0]
        ax.set_title(f"{name}: TwoNN {row.id_twonn:.2f}\nrelevant axes {row.id_lpca:.0f}", pad=-2)
        ax.set_box_aspect((1, 1, 0.8))
        ax.view_init(elev=22, azim=-62)
        ax.set(xticks=[], yticks=[], zticks=[])
    note(figure, f"{N:,} points each")
    return figure


FIGURE = Figure(
    data=data,
    draw=ribbon,
    title="A rolled ribbon: two dimensions in three-dimensional space",
    category="What is measured",
    caption="An intrinsic dimension is local: TwoNN estimates it from the distances to the two "
    "nearest neighbours, which rolling does not change. The number of relevant axes counts "
    "the eigenvalues above 1/20 of the largest. For the rolled ribbon, this number equals the "
    "dimension of the surrounding space.",
)
