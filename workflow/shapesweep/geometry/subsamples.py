"""Draw subsamples of tokens: the controls of the intrinsic dimension.

Where points come in tight groups, neighbours of the same group dominate the estimate. If neighbours
of the same group are excluded, the estimate is biased: the first two of the remaining neighbours
often lie in a single other group, at nearly equal distances. A sample with at most one point per
group is not biased in this way. Its estimate is compared with a sample of the same number of
points, because every estimate depends on the number of points.
"""

import itertools
from collections.abc import Iterator

import numpy as np

from shapesweep.estimators.arrays import Ints, Labels, Mask
from shapesweep.storage.selections import DRAWS, LEAST

#: Random seed of all subsamples.
SEED = 0

Draws = dict[str, list[Ints]]


def draw(documents: Labels, tokens: Labels | None, eligible: Mask) -> Draws:
    """Draw subsamples; the same tokens for every checkpoint and layer.

    Parameters
    ----------
    documents : ndarray of int, shape (n_tokens,)
    tokens : ndarray of int, shape (n_tokens,), or None
        Token ids, if they are known.
    eligible : ndarray of bool, shape (n_tokens,)
        Tokens that can be drawn.

    Returns
    -------
    dict of list of ndarray of int
        For every subsample, the rows of each draw in random order. Pairs with fewer points than
        `LEAST` are absent.
    """
    order = np.random.default_rng(SEED).permutation(np.flatnonzero(eligible))
    found: Draws = {}
    one = list(one_per_group(order, documents[order]))
    few = list(_few_documents(order, documents[order], len(one[0]) if one else 0))
    # With one token per document, all tokens are a sample with one token per document.
    if one and few and LEAST["one_per_document"] <= len(one[0]) < len(order):
        found |= {"one_per_document": one, "few_documents": few}
    one = [] if tokens is None else list(one_per_group(order, tokens[order]))
    if one and LEAST["one_per_type"] <= len(one[0]) < len(order):
        size = len(one[0])
        # Successive parts of the same order have no token in common, if there are enough tokens.
        rolled = (np.roll(order, -size * number)[:size] for number in range(DRAWS))
        found |= {"one_per_type": one, "any_type": list(rolled)}
    return found


def one_per_group(order: Ints, groups: Labels) -> Iterator[Ints]:
    """Yield draws with one row of each group.

    Parameters
    ----------
    order : ndarray of int, shape (n_rows,)
        Rows in random order.
    groups : ndarray of int, shape (n_rows,)
        Group of each of these rows.

    Yields
    ------
    ndarray of int, shape (n_groups,)
        The chosen rows in the given order. Two draws share a row only if its group has fewer rows
        than there are draws.
    """
    if not len(order):
        return
    by_group = np.argsort(groups, kind="stable")
    _, starts, counts = np.unique(groups[by_group], return_index=True, return_counts=True)
    for number in range(DRAWS):
        chosen = by_group[starts + number % counts]
        # The chosen rows keep the random order.
        yield order[np.sort(chosen)]


def _few_documents(order: Ints, documents: Labels, n_points: int) -> Iterator[Ints]:
    """Yield draws of all rows of the smallest number of documents that contain `n_points` rows.

    A draw has at least two documents, so that rows are left if a document is left out. The draws
    have no document in common. If a draw would need at least two documents more than the first
    draw, it is left out.
    """
    numbers, first, counts = np.unique(documents, return_index=True, return_counts=True)
    # The documents with the most rows, in random order.
    ranked = np.lexsort((first, -counts))
    supply = np.cumsum(counts[ranked])
    start, before, needed = 0, 0, len(ranked)
    for _ in itertools.repeat(None, DRAWS):
        stop = int(np.searchsorted(supply, before + n_points)) + 1
        stop = max(stop, start + 2)
        if stop > len(ranked) or stop - start > needed + 1:
            return
        needed = min(needed, stop - start)
        yield order[np.isin(documents, numbers[ranked[start:stop]])]
        start, before = stop, int(supply[stop - 1])
