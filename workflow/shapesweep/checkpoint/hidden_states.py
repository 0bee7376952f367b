"""The hidden states of a model: find the blocks that produce them, and run the forward pass."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from shapesweep.checkpoint import facts
from shapesweep.errors import CheckpointError, UnexpectedError, described, raise_if_memory

#: Largest error of a state that is the norm of another, relative to the state's largest value. The
#: errors of float32 are smaller.
NORM_ERROR = 1e-3
#: Constants that norms in language models add to the variance.
EPSILONS = (0.0, 1e-12, 1e-8, 1e-7, 1e-6, 1e-5, 1e-4, 1e-3)


@dataclass(frozen=True)
class Anatomy:
    """The structure of a model, found by running it.

    Attributes
    ----------
    n_layers : int
        Number of blocks; `hidden_states` has `n_layers + 1` entries.
    blocks : tuple of torch.nn.Module
        The blocks, in the order of the forward pass.
    last : {'block', 'final_norm', 'projection'}
        What the last entry of `hidden_states` is: the output of the last block, its norm, or
        another function of it, such as a projection to another width.
    causal : bool
        Whether the hidden states of a token are independent of later tokens.
    """

    n_layers: int
    blocks: tuple[Any, ...]
    last: str
    causal: bool

    @property
    def family(self) -> str:
        """`decoder` if the model is causal, otherwise `encoder`."""
        return facts.family(self.causal)

    def names(self) -> list[tuple[int, str]]:
        """Return `(layer, layer_kind)` of all kept hidden states, in the order of the layers."""
        kinds = ["embedding"] + ["block"] * self.n_layers
        last = [(self.n_layers, "final_norm")] if self.last == "final_norm" else []
        return list(enumerate(kinds)) + last

    def kept(self, states: Sequence[Any], last_block: Any) -> list[Any]:
        """Return the states that belong to `names`.

        Parameters
        ----------
        states : sequence of torch.Tensor
            The `hidden_states` of the model.
        last_block : torch.Tensor
            The output of the last block.
        """
        end = list(states[-1:]) if self.last == "final_norm" else []
        return [*states[:-1], last_block, *end]


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
            last = _last_kind(put_out[-1], states[-1])
            causal = _is_causal(model, document, states)
            return Anatomy(len(stack), tuple(stack), last, causal)
    raise CheckpointError(
        f"{type(model).__name__}: has no list of {len(states) - 1} modules whose outputs are the "
        "hidden states"
    )


def _last_kind(block: Any, state: Any) -> str:
    """Return what the last state is, compared with the output of the last block."""
    if _equal(block, state):
        return "block"
    if block.shape == state.shape and _is_norm(block[0].double(), state[0].double()):
        return "final_norm"
    return "projection"


def _is_norm(points: Any, normed: Any) -> bool:
    """Return whether points are the layer norms or RMS norms of others, times a scale per feature.

    Parameters
    ----------
    points, normed : torch.Tensor of float64, shape (n_tokens, n_features)
    """
    import torch

    if not torch.isfinite(normed).all():
        return True
    smallest = torch.finfo(points.dtype).tiny
    centred, shifted = points - points.mean(dim=1, keepdim=True), normed - normed.mean(dim=0)
    for epsilon in EPSILONS:
        # An RMS norm has a scale for every feature, and a layer norm may also have a shift.
        for parts, y in ((points, normed), (centred, normed), (centred, shifted)):
            x = parts / (parts.square().mean(dim=1, keepdim=True) + epsilon).sqrt()
            x = x if y is normed else x - x.mean(dim=0)
            scale = (x * y).sum(dim=0) / (x * x).sum(dim=0).clamp_min(smallest)
            if (y - scale * x).abs().max() <= NORM_ERROR * normed.abs().max():
                return True
    return False


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
    return torch.allclose(
        states[-1][:, :-1], changed_states[-1][:, :-1], rtol=1e-5, atol=1e-6, equal_nan=True
    )


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
