"""The onset of a loss explosion, by what was logged before it.

Pure functions on arrays.
"""

import numpy as np
from numpy.typing import NDArray

#: Losses whose median tells where a training stands.
WINDOW = 32
#: An onset lies so many standard deviations above the lowest such median, and so many nats. Losses
#: of single batches scatter by one standard deviation, by their median absolute deviation (MAD);
#: six are met by chance once in 10⁹ of a normal law; and no explosion is a third of a nat.
DEVIATIONS, NATS = 6.0, 0.5
#: Of so many losses from the onset on half lie as high: one odd batch is no explosion.
CONFIRMING = 8
#: Of a normal law's standard deviation to its MAD.
_MAD = 1.4826


def levels(losses: NDArray[np.float64]) -> NDArray[np.float64]:
    """What each loss must exceed to be the onset of an explosion, by the losses before it.

    The lowest median that any `WINDOW` losses in a row have had so far, and above it the larger of
    `DEVIATIONS` of those losses' standard deviations (1.4826 MAD) and `NATS` nats. A loss that
    creeps up does not take its level with it.

    Parameters
    ----------
    losses : ndarray of float64, shape (n_losses,)
        In the order of training, as logged.

    Returns
    -------
    ndarray of float64, shape (n_losses,)
        Infinite of the first `WINDOW`.
    """
    levels = np.full(len(losses), np.inf)
    if len(losses) <= WINDOW:
        return levels
    finite = np.where(np.isfinite(losses), losses, np.inf)
    windows = np.lib.stride_tricks.sliding_window_view(finite[:-1], WINDOW)
    with np.errstate(invalid="ignore"):
        middles = np.median(windows, axis=1)
        spreads = _MAD * np.nanmedian(np.abs(windows - middles[:, None]), axis=1)
        bounds = middles + np.maximum(DEVIATIONS * spreads, NATS)
    lowest = np.minimum.accumulate(middles)
    # The window that the lowest median so far is of.
    which = np.maximum.accumulate(np.where(middles <= lowest, np.arange(len(middles)), 0))
    levels[WINDOW:] = bounds[which]
    return levels


def first_onset(losses: NDArray[np.float64]) -> int | None:
    """Where a loss explodes first.

    At the first loss that is not finite, or that lies above its level (`levels`) as at least half
    of the `CONFIRMING` losses from it on do. When it is depends on what was logged before it; the
    losses after it only tell whether it was one.

    Parameters
    ----------
    losses : ndarray of float64, shape (n_losses,)
        In the order of training, as logged.

    Returns
    -------
    int or None
        Its position; None if there is none.

    Examples
    --------
    >>> import numpy as np
    >>> calm = np.random.default_rng(0).normal(3, 0.1, 100)
    >>> print(first_onset(calm), first_onset(np.append(calm, [4.5] + [3.0] * 7)))
    None None
    >>> first_onset(np.append(calm, [4.5, 3.0, 4.2, 5.0, 7.0]))
    100
    """
    for i, level in enumerate(levels(losses)):
        high = ~(losses[i : i + CONFIRMING] <= level)
        if not np.isfinite(losses[i]) or (high[0] and 2 * high.sum() >= CONFIRMING):
            return i
    return None
