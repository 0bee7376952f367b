"""Find repeated points of a cloud."""

import numpy as np

from shapesweep.estimators.arrays import Array, Ints, Labels


def unique_rows(points: Array, contexts: Labels | None = None) -> Ints:
    """Return the indices of the first occurrence of every distinct row, in ascending order.

    Hidden states contain repeated rows. For example, equal tokens have equal states at layer 0. In
    a causal model, documents that start with the same token have equal first states. A repeated row
    is a neighbour at distance zero, which ruins every estimate that divides by a distance.

    Parameters
    ----------
    points : ndarray, shape (n_points, n_features)
    contexts : ndarray of int, shape (n_points,), optional
        Number of the context of each token. Rows with equal numbers are repeated points, even if
        rounding makes the rows differ.

    Returns
    -------
    ndarray of int, shape (n_unique,)

    Examples
    --------
    >>> import numpy as np, shapesweep
    >>> shapesweep.unique_rows(np.array([[1.0, 2.0], [3.0, 4.0], [1.0, 2.0]])).tolist()
    [0, 1]
    """
    rows = np.arange(len(points))
    if contexts is not None:
        rows = np.sort(np.unique(contexts, return_index=True)[1])
    # Adding zero turns -0.0 into 0.0, so that equal rows have equal bytes.
    left = np.ascontiguousarray(points[rows] + 0.0)
    as_bytes = left.view(np.dtype((np.void, left.dtype.itemsize * left.shape[1]))).ravel()
    # Sorting by a weighted sum of machine words is faster than sorting by bytes. Distinct rows
    # hardly ever have equal sums.
    words: Array = left.view(np.uint32 if left.strides[0] % 8 else np.uint64)
    weights = np.random.default_rng(0).integers(2**63, size=words.shape[1], dtype=np.uint64)
    sums: Array = np.einsum("ij,j->i", words, np.asarray(weights))
    _, first, kind = np.unique(sums, return_index=True, return_inverse=True)
    repeats = np.flatnonzero(first[kind] != np.arange(len(left)))
    if (as_bytes[repeats] != as_bytes[first[kind[repeats]]]).any():
        first = np.unique(as_bytes, return_index=True)[1]
    return rows[np.sort(first)]
