"""Find the exact nearest neighbours of a cloud with one search for all metrics.

Input: points of a cloud.
Output: lists of neighbours.
Imported by: metrics, geometry, training, figures.
"""

from shapesweep.neighbors.lists import NeighborLists, nearest_neighbors, search
from shapesweep.neighbors.repeats import unique_rows

__all__ = ["NeighborLists", "nearest_neighbors", "search", "unique_rows"]
