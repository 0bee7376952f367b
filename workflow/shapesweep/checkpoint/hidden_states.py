"""The hidden states of a model: find the blocks that produce them, and run the forward pass."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from shapesweep.errors import CheckpointError, UnexpectedError, described, raise_if_memory


@dataclass(frozen=True)
class Anatomy:
    """The structure of a model, found by running it.

    Attributes
    ----------
    n_layers : int
        Number of blocks; `hidden_states` has `n_layers + 1` entries.
    blocks : tuple of torch.nn.Module
        The blocks, in the order of the forward pass.
    has_final_norm : bool
        Whether the last entry of `hidden_states` is the output of a final norm.
    causal : bool
        Whether the hidden states of a token are independent of later tokens.
    """

    n_layers: int
    blocks: tuple[Any, ...]
    has_final_norm: bool
    causal: bool

    def names(self) -> list[tuple[int, str]]:
        """Return `(layer, layer_kind)` of all kept hidden states, in the order of the layers."""
        kinds = ["embedding"] + ["block"] * self.n_layers
        last = [(self.n_layers, "final_norm")] if self.has_final_norm else []
        return list(enumerate(kinds)) + last


def find_anatomy(model: Any, document: NDArray[np.int64]) -> Anatomy:
    """Find the blocks of a model by their outputs, rather than by their names.

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
        If the model has no list of modules that returns the hidden states.
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
        put_out = [outputs[block] for block in stack if block in outputs]
        if not len(stack) == len(put_out) == len(states) - 1:
            continue
        if all(map(_equal, put_out[:-1], states[1:-1])):
            has_final_norm = not _equal(put_out[-1], states[-1])
            causal = _is_causal(model, document, states)
            return Anatomy(len(stack), tuple(stack), has_final_norm, causal)
    raise CheckpointError(
        f"{type(model).__name__}: has no list of {len(states) - 1} modules whose outputs are the "
        "hidden states"
    )


def _equal(first: Any, second: Any) -> bool:
    """Return whether two tensors are equal. Unlike in `torch.equal`, NaN equals NaN."""
    import torch

    same_shape = first.shape == second.shape
    return same_shape and torch.allclose(first, second, rtol=0, atol=0, equal_nan=True)


def _is_causal(model: Any, document: NDArray[np.int64], states: Any) -> bool:
    """Return whether changing the last token leaves the states of earlier tokens unchanged."""
    import torch

    changed = document.copy()
    changed[-1] = changed[-1] - 1 if changed[-1] > 0 else 1
    changed_states = forward(model, to_batch(model, [changed])).hidden_states
    # Even in a causal model, the states of earlier tokens may differ slightly, because some kernels
    # do not always add numbers in the same order.
    return torch.allclose(states[-1][:, :-1], changed_states[-1][:, :-1], rtol=1e-5, atol=1e-6)


def forward(model: Any, batch: Any) -> Any:
    """Run a model on token ids, with `hidden_states` in the output.

    Raises
    ------
    CheckpointError
        If the model cannot be run on token ids alone.
    MemoryError
        If memory runs out.
    """
    try:
        return model(input_ids=batch, output_hidden_states=True)
    except Exception as error:  # models raise all kinds of errors for inputs that they cannot read
        raise_if_memory(error)
        name = type(model).__name__
        raise UnexpectedError(
            f"{name} cannot be run on these tokens: {described(error)}"
        ) from error


def to_batch(model: Any, documents: list[NDArray[np.int64]]) -> Any:
    """Return documents of equal length as a tensor on the device of the model."""
    import torch

    return torch.from_numpy(np.stack(documents)).to(model.device)
