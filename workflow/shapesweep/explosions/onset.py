"""Detect the onset of a loss explosion in the logged losses of a run."""

import numpy as np
from numpy.typing import NDArray

#: Number of consecutive losses in each of the medians that determine the level of a run.
WINDOW = 32
#: Minimum height of an onset above the lowest median, in standard deviations and in nats. The
#: standard deviation is estimated from the median absolute deviation (MAD). Only one in 10⁹ samples
#: of a normal distribution exceeds the mean by six standard deviations. Increases of less than half
#: a nat are not explosions.
DEVIATIONS, NATS = 6.0, 0.5
#: Number of losses that confirm an onset, including the loss at the onset. At least half of these
#: losses must exceed the level, so that a single batch does not count as an explosion.
CONFIRMING = 8
#: Ratio of the standard deviation to the MAD of a normal distribution.
_MAD = 1.4826


def levels(losses: NDArray[np.float64]) -> NDArray[np.float64]:
    """Compute the level of each loss from earlier losses; at an onset, the loss exceeds its level.

    The level is the lowest median so far of `WINDOW` consecutive losses, plus a margin. The margin
    is `DEVIATIONS` standard deviations of these losses (estimated as 1.4826 MAD), but at least
    `NATS` nats. A slowly rising loss does not raise the level.

    Parameters
    ----------
    losses : ndarray of float64, shape (n_losses,)
        Logged losses in the order of training.

    Returns
    -------
    ndarray of float64, shape (n_losses,)
        Levels; infinite for the first `WINDOW` losses.
    """
    levels = np.full(len(losses), np.inf)
    if len(losses) <= WINDOW:
        return levels
    finite = np.where(np.isfinite(losses), losses, np.inf)
    windows = np.lib.stride_tricks.sliding_window_view(finite[:-1], WINDOW)
    with np.errstate(invalid="ignore"):
        middles = np.median(windows, axis=1)
        # If most losses are infinite, the level is infinite, whatever the spread.
        distances = np.nan_to_num(np.abs(windows - middles[:, None]), nan=0.0, posinf=np.inf)
        spreads = _MAD * np.median(distances, axis=1)
        bounds = middles + np.maximum(DEVIATIONS * spreads, NATS)
    lowest = np.minimum.accumulate(middles)
    # Index of the window with the lowest median so far.
    which = np.maximum.accumulate(np.where(middles <= lowest, np.arange(len(middles)), 0))
    levels[WINDOW:] = bounds[which]
    return levels


def first_onset(losses: NDArray[np.float64]) -> int | None:
    """Find the first onset of a loss explosion.

    The onset is the first loss that is not finite or that exceeds its level (`levels`). A loss
    above its level counts only if at least half of `CONFIRMING` losses, starting with this loss,
    exceed the same level. Later losses confirm an onset, but do not move it.

    Parameters
    ----------
    losses : ndarray of float64, shape (n_losses,)
        Logged losses in the order of training.

    Returns
    -------
    int or None
        Index of the onset; None if the loss does not explode.

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
