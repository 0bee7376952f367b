"""The hidden states of a model: find the blocks that produce them by running the model."""

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from shapesweep.checkpoint import facts
from shapesweep.checkpoint.blocks import Block, Call, equal, find_blocks
from shapesweep.checkpoint.forward import (
    forward,
    shifted,
    stacks,
    start_token,
    states_of,
    to_batch,
)
from shapesweep.errors import CheckpointError

#: Largest error of a state that is the norm of another, relative to the state's largest value. The
#: errors of float32 are smaller.
NORM_ERROR = 1e-3
#: Constants that norms in language models add to the variance.
EPSILONS = (0.0, 1e-12, 1e-8, 1e-7, 1e-6, 1e-5, 1e-4, 1e-3)


@dataclass(frozen=True)
class Anatomy:
    """The structure of a model, or of a stack of an encoder-decoder, found by running it.

    Attributes
    ----------
    blocks : tuple of Block
        The blocks, in the order of the forward pass.
    last : {'block', 'final_norm', 'projection'}
        What the last entry of `hidden_states` is: the output of the last block, its norm, or
        another function of it, such as a projection to another width.
    causal : bool
        Whether the hidden states of a token are independent of later tokens.
    has_embedding : bool
        Whether `hidden_states` begin with the embedding. Otherwise, they begin with the output of
        the first block, as in Mamba.
    stack : str
        Name of the stack, as in `forward.stacks`.
    """

    blocks: tuple[Block, ...]
    last: str
    causal: bool
    has_embedding: bool = True
    stack: str = ""

    @property
    def n_layers(self) -> int:
        """Number of blocks."""
        return len(self.blocks)

    @property
    def family(self) -> str:
        """`decoder` if the model is causal, otherwise `encoder`."""
        return facts.family(self.causal)

    def names(self) -> list[tuple[int, str]]:
        """Return `(layer, layer_kind)` of all kept hidden states, in the order of the layers."""
        kinds = ["embedding"] + ["block"] * self.n_layers
        last = [(self.n_layers, "final_norm")] if self.last == "final_norm" else []
        return list(enumerate(kinds)) + last

    @contextlib.contextmanager
    def ends(self) -> Iterator[dict[str, Any]]:
        """Record the input of the first block, and the output of the last block.

        Yields
        ------
        dict
            After a forward pass, it contains what `hidden_states` lack: the states `embedding`, or
            the output `last_block`.
        """
        found: dict[str, Any] = {}

        def keep(key: str, value: Any) -> None:
            found[key] = value

        with contextlib.ExitStack() as stack:
            if not self.has_embedding:
                stack.enter_context(self.blocks[0].at_input(partial(keep, "embedding")))
            elif self.last != "block":
                stack.enter_context(self.blocks[-1].on_output(partial(keep, "last_block")))
            yield found

    def kept(self, states: Sequence[Any], ends: Mapping[str, Any]) -> list[Any]:
        """Return the states that belong to `names`.

        Parameters
        ----------
        states : sequence of torch.Tensor
            The `hidden_states` of the model.
        ends : mapping
            What `ends` recorded in the same forward pass.
        """
        start = [] if self.has_embedding else [ends["embedding"]]
        if self.last == "block":
            return [*start, *states]
        n_tokens = states[0].shape[1]
        end = [self.blocks[-1].states(ends["last_block"], n_tokens)] if self.has_embedding else []
        norm = states[-1:] if self.last == "final_norm" else []
        return [*start, *states[:-1], *end, *norm]


def find_anatomy(model: Any, document: NDArray[np.int64]) -> Anatomy:
    """Find the blocks of a model with one stack; see `find_stacks`.

    Raises
    ------
    CheckpointError
        If the model is an encoder-decoder, or as in `find_stacks`.
    """
    if len(stacks(model)) > 1:
        raise CheckpointError(f"{type(model).__name__} has two stacks, an encoder and a decoder")
    return find_stacks(model, document)[0]


def find_stacks(model: Any, document: NDArray[np.int64]) -> list[Anatomy]:
    """Find the blocks of each stack of a model by their outputs, rather than by their names.

    Parameters
    ----------
    model : transformers.PreTrainedModel
    document : ndarray of int64, shape (n_tokens,)

    Returns
    -------
    list of Anatomy
        One for each name in `forward.stacks`.

    Raises
    ------
    CheckpointError
        If the model does not return a state for each token and layer, if its states are random, or
        if it has no list of modules that returns the states.
    """
    import torch

    calls: list[Call] = []
    lists = [m for m in model.modules() if isinstance(m, torch.nn.ModuleList) and len(m)]
    batch = to_batch(model, [document])
    hooks = [
        block.register_forward_hook(lambda module, _inputs, output: calls.append((module, output)))
        for block in {block for members in lists for block in members}
    ]
    try:
        output = forward(model, batch)
    finally:
        for hook in hooks:
            hook.remove()
    again = forward(model, batch)
    found = []
    for stack in stacks(model):
        states = states_of(output, stack)
        _check_states(type(model).__name__, batch, states, states_of(again, stack))
        causal = _is_causal(model, batch, stack, states)
        each = (_found(members, calls, states, stack, causal) for members in lists)
        anatomy = next((anatomy for anatomy in each if anatomy), None)
        if anatomy is None:
            raise CheckpointError(
                f"{type(model).__name__}: has no list of {len(states) - 1} modules whose outputs "
                f"are the hidden states{f' of its {stack}' if stack else ''}"
            )
        found.append(anatomy)
    return found


def _found(
    members: Any, calls: Sequence[Call], states: Sequence[Any], stack: str, causal: bool
) -> Anatomy | None:
    """Return the anatomy of a stack whose blocks are members of a list of modules."""
    modules = set(members)
    own = [(module, output) for module, output in calls if module in modules]
    # The states begin with the embedding, or with the output of the first block. In the second
    # case, they end with the output of the last block, or with its norm.
    for has_embedding, inner, n_blocks in (
        (True, states[1:-1], len(states) - 1),
        (False, states[:-1], len(states) - 1),
        (False, states, len(states)),
    ):
        blocks = find_blocks(own, inner) if len(own) == n_blocks else None
        if not blocks:
            continue
        last = _last_kind(blocks[-1].states(own[-1][1], states[-1].shape[1]), states[-1])
        # With a single block, nothing but the last state is compared.
        if len(inner) or last != "projection":
            return Anatomy(blocks, last, causal, has_embedding, stack)
    return None


def _check_states(name: str, batch: Any, states: Any, again: Any) -> None:
    """Raise an error if the states are not the same vectors of tokens in every run."""
    import torch

    if not isinstance(states, tuple | list) or len(states) < 2:
        raise CheckpointError(f"{name} returns no hidden states of its layers")
    for layer, state in enumerate(states):
        if state.ndim != 3 or state.shape[:2] != batch.shape:
            shape = ", ".join(map(str, state.shape))
            raise CheckpointError(
                f"{name} does not return one state per token: layer {layer} has the shape "
                f"({shape}) for {batch.shape[1]} tokens"
            )
    for state, other in zip(states, again, strict=True):
        largest = float(state.nan_to_num().abs().max())
        if not torch.allclose(state, other, rtol=0, atol=1e-3 * largest, equal_nan=True):
            raise CheckpointError(f"{name} returns other hidden states in every run")


def _last_kind(block: Any, state: Any) -> str:
    """Return what the last state is, compared with the output of the last block."""
    if equal(block, state):
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


def _is_causal(model: Any, batch: Any, stack: str, states: Any) -> bool:
    """Return whether changing the last token leaves the states of earlier tokens unchanged."""
    after = _changed(model, batch, stack, -1)
    if not _is_equal(states[-1][:, :-1], after[:, :-1]):
        return False
    # The states may not depend on other tokens at all, because a matrix of every block is still 0.
    # Then only the configuration shows which tokens a token will attend to.
    if batch.shape[1] > 1 and _is_equal(states[-1][:, 1:], _changed(model, batch, stack, 0)[:, 1:]):
        return stack == "decoder" if stack else not _is_of_encoder(model.config)
    return True


def _changed(model: Any, batch: Any, stack: str, position: int) -> Any:
    """Return the last states after one token has been replaced by another token of the document."""
    # The input of the encoder also changes all states of the decoder.
    decoder = shifted(batch, start_token(model)) if stack == "decoder" else None
    changed = (batch if decoder is None else decoder).clone()
    # Another token of the document is not padding, which some models leave out.
    others = changed[0][changed[0] != changed[0, position]]
    changed[:, position] = others[-1] if len(others) else (changed[0, position] + 1) % 2
    output = forward(model, changed) if decoder is None else forward(model, batch, changed)
    return states_of(output, stack)[-1]


def _is_equal(a: Any, b: Any) -> bool:
    """Return whether states are equal, except for the order in which kernels add numbers."""
    import torch

    return torch.allclose(a, b, rtol=1e-5, atol=1e-6, equal_nan=True)


def _is_of_encoder(config: Any) -> bool:
    """Return whether in the model of a configuration, all tokens attend to all tokens."""
    from transformers.models.auto import modeling_auto

    if getattr(config, "is_causal", None) is not None:
        return not config.is_causal
    of_encoders = modeling_auto.MODEL_FOR_MASKED_LM_MAPPING_NAMES
    return config.model_type in of_encoders and not getattr(config, "is_decoder", False)
