"""The anatomy of a model: what the entries of its hidden states are, found by running it."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from shapesweep.errors import CheckpointError, raise_if_memory


@dataclass(frozen=True)
class Anatomy:
    """What the entries of `hidden_states` are, found by running the model.

    Attributes
    ----------
    n_layers : int
        Blocks; `hidden_states` has one entry more.
    blocks : tuple of torch.nn.Module
        In the order in which states go through them.
    has_final_norm : bool
        The last entry is not what the last block hands on: it has been through a norm.
    causal : bool
        A token's states do not depend on the tokens behind it.
    """

    n_layers: int
    blocks: tuple[Any, ...]
    has_final_norm: bool
    causal: bool

    def names(self) -> list[tuple[int, str]]:
        """(layer, layer_kind) of everything that is kept, in order."""
        kinds = ["embedding"] + ["block"] * self.n_layers
        last = [(self.n_layers, "final_norm")] if self.has_final_norm else []
        return list(enumerate(kinds)) + last


def find_anatomy(model: Any, document: NDArray[np.int64]) -> Anatomy:
    """Find a model's stack of blocks by what it puts out, not by its name.

    Parameters
    ----------
    model : transformers.PreTrainedModel
    document : ndarray of int64, shape (n_tokens,)

    Returns
    -------
    Anatomy

    Raises
    ------
    CheckpointError
        If no list of modules puts out the model's hidden states.
    """
    import torch

    outputs = {}

    def keep(module: Any, _inputs: Any, output: Any) -> None:
        outputs[module] = output[0] if isinstance(output, tuple) else output

    stacks = [m for m in model.modules() if isinstance(m, torch.nn.ModuleList) and len(m)]
    hooks = [block.register_forward_hook(keep) for stack in stacks for block in stack]
    try:
        states = forward(model, to_batch(model, [document])).hidden_states
    finally:
        for hook in hooks:
            hook.remove()
    for stack in stacks:
        if len(stack) != len(states) - 1 or not all(block in outputs for block in stack):
            continue
        put_out = [outputs[block] for block in stack]
        if all(_equal(put_out[k - 1], states[k]) for k in range(1, len(stack))):
            has_final_norm = not _equal(put_out[-1], states[-1])
            causal = _is_causal(model, document, states)
            return Anatomy(len(stack), tuple(stack), has_final_norm, causal)
    raise CheckpointError(
        f"{type(model).__name__}: no stack of {len(states) - 1} blocks puts out its hidden states"
    )


def _is_causal(model: Any, document: NDArray[np.int64], states: Any) -> bool:
    """Whether another last token leaves the states of those before it as they are."""
    import torch

    changed = document.copy()
    changed[-1] = changed[-1] - 1 if changed[-1] > 0 else 1
    again = forward(model, to_batch(model, [changed])).hidden_states
    # The same arithmetic on the same numbers, but for the order of sums some kernels choose.
    return torch.allclose(states[-1][:, :-1], again[-1][:, :-1], rtol=1e-5, atol=1e-6)


def forward(model: Any, batch: Any) -> Any:
    """Run a model on token ids; its output with `hidden_states`.

    Raises
    ------
    CheckpointError
        If the model cannot be run on token ids alone.
    MemoryError
        If there is too little memory to tell.
    """
    try:
        return model(input_ids=batch, output_hidden_states=True)
    except Exception as error:  # whatever a model makes of tokens that it cannot read
        raise_if_memory(error)
        reason = " ".join(str(error).split())[:200]
        name = type(model).__name__
        raise CheckpointError(f"{name} cannot be run on these tokens: {reason}") from None


def to_batch(model: Any, documents: list[NDArray[np.int64]]) -> Any:
    """Documents of equal length as one tensor on the model's device."""
    import torch

    return torch.from_numpy(np.stack(documents)).to(model.device)


def _equal(a: Any, b: Any) -> bool:
    import torch

    return a.shape == b.shape and torch.equal(a, b)
