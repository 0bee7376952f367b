"""Compute tiles: blocks of lower bounds of ½ distance². One matrix product computes a tile.

For points a and b, ½‖a - b‖² = -a·b + ½‖a‖² + ½‖b‖². This is an inner product if every point gets
two more columns. The product is computed in low precision. Every value is nevertheless a *lower
bound*, because the largest possible rounding error is subtracted from the squared norms beforehand.
With lower bounds, the search for neighbours is exact.
"""

from typing import Any

import numpy as np

from shapesweep.estimators.arrays import Array, Floats, Labels
from shapesweep.estimators.moments import ROWS

Index = slice | Labels


class Tiles:
    """Lower bounds of ½‖a - b‖² for blocks of pairs of points.

    Parameters
    ----------
    points : ndarray, shape (n_points, n_features), float64
        Centred points. Centring reduces the error, which grows with the norms.
    halves : ndarray, shape (n_points,), float64
        Half of the squared norms of the points.
    precision : {"bfloat16", "float32", "float64"}
        Precision of the product. Bounds in bfloat16 are kept as int16 numbers with the same bits.
        Positive bounds have the same order in both types. `bound` converts all bounds to float64.

    Notes
    -----
    The error of an inner product of n terms in precision u is at most n·u·Σ|terms| (Higham 2002,
    eq. 3.5). With the rounding of the inputs, the error is at most (n + 8)·2u·(½‖a‖² + ½‖b‖²). For
    bfloat16, let h be the point x after rounding, l = x - h, and ρ the largest ‖l‖/‖x‖. Then
    |a·b - h_a·h_b| ≤ ‖a‖‖l_b‖ + ‖l_a‖‖h_b‖ ≤ 2ρ(1 + ρ)·(½‖a‖² + ½‖b‖²). The inner product is
    computed in float32, and `bound` corrects for its rounding to bfloat16.
    """

    def __init__(self, points: Floats, halves: Floats, precision: str) -> None:
        n_features = points.shape[1]
        self.precision = precision
        if precision == "bfloat16":
            self._half_precision(points, halves)
            return
        dtype = np.dtype(precision)
        #: The subtracted error, as a share of ½‖a‖² + ½‖b‖².
        self.slack = float((n_features + 10) * np.finfo(dtype).eps)
        right = np.empty((len(points), n_features + 2), dtype)
        right[:, :-2] = points
        right[:, -2] = 1
        right[:, -1] = halves * (1 - self.slack) - _underflow(n_features, dtype)
        self._right: Any = right

    def block(self, rows: Index, columns: Index) -> Array:
        """Return the bounds of all pairs of some rows and columns, shape (n_rows, n_columns)."""
        n_more = 3 if self.precision == "bfloat16" else 1
        product = _left(self._right[rows], n_more) @ self._right[columns].T
        if self.precision != "bfloat16":
            return product
        import torch

        return product.view(torch.int16).numpy()

    def bound(self, values: Array) -> Floats:
        """Convert values of `block` to non-negative lower bounds of ½‖a - b‖²."""
        if self.precision == "bfloat16":
            bits = np.maximum(values, 0).astype(np.uint32) << 16
            # A rounded number is too high by at most half a unit in the last of the 8 bits of its
            # mantissa.
            return bits.view(np.float32).astype(np.float64) / (1 + 2.0**-8)
        return np.maximum(values.astype(np.float64), 0)

    def _half_precision(self, points: Floats, halves: Floats) -> None:
        import torch

        n_points, n_features = points.shape
        right = torch.ones((n_points, n_features + 6), dtype=torch.bfloat16)
        lost = np.empty(n_points)
        for start in range(0, n_points, ROWS):
            exact = torch.from_numpy(points[start : start + ROWS])
            rounded = right[start : start + ROWS, :n_features].copy_(exact)
            lost[start : start + ROWS] = torch.linalg.vector_norm(exact - rounded, dim=1).numpy()
        norms = np.sqrt(2 * halves)
        ratio = np.divide(lost, norms, out=np.zeros_like(lost), where=norms > 0).max(initial=0)
        rounding = (n_features + 10) * np.finfo(np.float32).eps
        self.slack = float(rounding + 2 * ratio * (1 + ratio))
        reduced = halves * (1 - self.slack) - _underflow(n_features, np.dtype(np.float32))
        left_over = torch.from_numpy(reduced)
        for piece in (-3, -2, -1):  # three numbers of 8 bits represent one number of 24 bits
            right[:, piece] = left_over.to(torch.bfloat16)
            left_over = left_over - right[:, piece]
        self._right = right


def _underflow(n_features: int, dtype: np.dtype[Any]) -> float:
    """Return the largest error that underflow and the rounding of the sum can cause."""
    return float((n_features + 10) * np.finfo(dtype).tiny)


def _left(right: Any, n_more: int) -> Any:
    """Return rows of the left factor: coordinates are negated, and ones and squares swap places."""
    left = -right
    left[:, -2 * n_more : -n_more] = right[:, -n_more:]
    left[:, -n_more:] = 1
    return left


def fast_half_precision() -> bool:
    """Whether the CPU has bfloat16 instructions, which are about four times as fast as float32."""
    import torch

    known = torch.cpu.get_capabilities()
    return bool(known.get("avx512_bf16") or known.get("amx_bf16"))
