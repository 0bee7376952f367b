"""Compute the number of tokens that a checkpoint has seen, by the rule of its suite."""

from shapesweep.config.hub_suite import Each, PerStep, Ramp, Ramped, Table, TokensRule


def tokens_of(
    rule: TokensRule | None, step: int | None, label: int | None, is_main: bool, rank: int
) -> float | None:
    """Return the number of tokens that a checkpoint has seen.

    Parameters
    ----------
    rule : str, PerStep, Each, Ramped, Table or None
    step : int or None
    label : int or None
        Number of tokens in the name of the checkpoint.
    is_main : bool
        Whether the checkpoint is a `main` without a step. The tokens of such a `main` are known
        only from `label`.
    rank : int
        1-based index of the checkpoint within its phase.
    """
    if rule == "label" or rule is None:
        return label
    if is_main:
        return None
    if isinstance(rule, Each):
        # Checkpoints whose names contain neither steps nor tokens have no order, and no rank.
        return None if step is None and label is None else rank * rule.each
    if step is None:
        return label
    if isinstance(rule, PerStep):
        return step * rule.per_step
    if isinstance(rule, Ramped):
        return ramped(step, rule.ramp)
    assert isinstance(rule, Table)
    return rule.table.get(step)


def step_of(rule: TokensRule | None, label: int | None) -> int | None:
    """Return the step of a checkpoint from the number of tokens in its name.

    None if the rule does not give the number of tokens per step.
    """
    if label is None or not isinstance(rule, PerStep):
        return None
    return round(label / rule.per_step)


def ramped(step: int, ramp: Ramp) -> int:
    """Return the number of tokens that a run with a growing batch size has seen after `step` steps.

    As in Megatron-LM (`RampupBatchsizeNumMicroBatches`), the samples of the ramp are divided into
    equal shares, and the batch size grows by one increment after each share.

    Examples
    --------
    The first thousand steps of BLOOM-560m, during which the batch size is still 192:

    >>> ramped(1000, Ramp(first=192, increment=32, over=9765625, last=256, length=2048))
    393216000
    """
    n_increments = (ramp.last - ramp.first) // ramp.increment
    samples, left, batch = 0, step, ramp.first
    for k in range(1, n_increments + 1):
        # Number of steps until share k of the samples has been read and the batch size grows.
        until = -(-(ramp.over * k // n_increments - samples) // batch)
        taken = min(left, max(until, 0))
        samples, left, batch = samples + taken * batch, left - taken, batch + ramp.increment
        if not left:
            break
    return (samples + left * batch) * ramp.length
