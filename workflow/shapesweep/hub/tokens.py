"""Tokens that a checkpoint has seen, by the rule of its suite."""

from shapesweep.config.hub_suite import Each, PerStep, Ramp, Ramped, Table, TokensRule


def tokens_of(
    rule: TokensRule | None, step: int | None, label: int | None, is_main: bool, rank: int
) -> float | None:
    """Tokens that a checkpoint has seen.

    Parameters
    ----------
    rule : str, PerStep, Each, Ramped, Table or None
    step : int or None
    label : int or None
        Tokens in its name.
    is_main : bool
        Whether it is the main revision, which only a label describes.
    rank : int
        Its rank within its phase, from 1.
    """
    if rule == "label" or rule is None:
        return label
    if is_main:
        return None
    if isinstance(rule, Each):
        return rank * rule.each
    if step is None:
        return label
    if isinstance(rule, PerStep):
        return step * rule.per_step
    if isinstance(rule, Ramped):
        return ramped(step, rule.ramp)
    assert isinstance(rule, Table)
    return rule.table.get(step)


def ramped(step: int, ramp: Ramp) -> int:
    """Tokens seen after a number of steps with a batch size that grows.

    As in Megatron-LM, the batch grows by one increment after each equal share of the samples of the
    ramp (`RampupBatchsizeNumMicroBatches`).

    Examples
    --------
    The first thousand steps of BLOOM-560m, before its batch of 192 grows:

    >>> ramped(1000, Ramp(first=192, increment=32, over=9765625, last=256, length=2048))
    393216000
    """
    n_increments = (ramp.last - ramp.first) // ramp.increment
    samples, left, batch = 0, step, ramp.first
    for k in range(1, n_increments + 1):
        # The batch grows at the first step that begins with this many samples seen.
        until = -(-(ramp.over * k // n_increments - samples) // batch)
        taken = min(left, max(until, 0))
        samples, left, batch = samples + taken * batch, left - taken, batch + ramp.increment
        if not left:
            break
    return (samples + left * batch) * ramp.length
