"""Blocks: the modules whose outputs are the hidden states of a model."""

import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from shapesweep.errors import CheckpointError

#: A function that receives states or an output, and may return others that replace them.
Watch = Callable[[Any], Any]
#: A call of a module, with its output.
Call = tuple[Any, Any]


@dataclass(frozen=True)
class Block:
    """A block of a model. Several blocks may be calls of one module, as in ALBERT.

    Attributes
    ----------
    module : torch.nn.Module
    call, n_calls : int
        Number of the call of the module in a forward pass, and number of all these calls.
    view : {'whole', 'transposed', 'head', 'tail'}
        Where the states are in the output of the module. `transposed`: tokens are the first axis,
        and documents the second. `head`, `tail`: other tokens follow or precede the tokens of the
        document.
    """

    module: Any
    call: int = 0
    n_calls: int = 1
    view: str = "whole"

    def states(self, output: Any, n_tokens: int) -> Any:
        """Return the states in an output, shape (n_documents, n_tokens, n_features)."""
        found = first_tensor(output)
        if self.view in ("head", "tail"):
            return found[:, -n_tokens:] if self.view == "tail" else found[:, :n_tokens]
        return found.transpose(0, 1) if self.view == "transposed" else found

    def on_output(self, watch: Watch) -> Any:
        """Call a function on each output of the module; a result that is not None replaces it.

        Returns
        -------
        torch.utils.hooks.RemovableHandle
            A context manager that removes the function.
        """
        calls = itertools.count()

        def hook(_module: Any, _inputs: Any, output: Any) -> Any:
            return watch(output) if next(calls) % self.n_calls == self.call else None

        return self.module.register_forward_hook(hook)

    def at_output(self, watch: Watch) -> Any:
        """Call a function on the states of each output; a result that is not None replaces them."""

        def changed(output: Any) -> Any:
            states = watch(self._whole(first_tensor(output)))
            if states is None:
                return None
            states = self._whole(states)
            if isinstance(output, tuple | list):
                return type(output)([states, *output[1:]])
            return states

        return self.on_output(changed)

    def at_input(self, watch: Watch) -> Any:
        """Call a function on the states of each input; a result that is not None replaces them."""
        calls = itertools.count()

        def hook(_module: Any, inputs: Any, named: Any) -> Any:
            if next(calls) % self.n_calls != self.call:
                return None
            states = watch(self._whole(inputs[0] if inputs else named["hidden_states"]))
            if states is None:
                return None
            states = self._whole(states)
            if inputs:
                return (states, *inputs[1:]), named
            return inputs, {**named, "hidden_states": states}

        return self.module.register_forward_pre_hook(hook, with_kwargs=True)

    def _whole(self, states: Any) -> Any:
        """Exchange the axes of documents and tokens, if the module has them in this order."""
        if self.view in ("head", "tail"):
            raise CheckpointError(
                "the states of its blocks cannot be changed, because its blocks read more tokens "
                "than the document has"
            )
        return states.transpose(0, 1) if self.view == "transposed" else states


def find_blocks(calls: Sequence[Call], states: Sequence[Any]) -> tuple[Block, ...] | None:
    """Return the blocks whose outputs are the given states, or None if the calls do not fit.

    Parameters
    ----------
    calls : sequence of (torch.nn.Module, object)
        Calls of the members of a list of modules, each with its output, in the order of the calls.
    states : sequence of torch.Tensor, shape (n_documents, n_tokens, n_features)
        The outputs of the first blocks. Further outputs are not compared.
    """
    outputs = [first_tensor(output) for _, output in calls]
    if any(output is None for output in outputs):
        return None
    for view in ("whole", "transposed", "head", "tail"):
        modules = [module for module, _ in calls]
        blocks = tuple(
            Block(module, modules[:k].count(module), modules.count(module), view)
            for k, module in enumerate(modules)
        )
        if all(
            equal(block.states(output, state.shape[1]), state)
            for block, output, state in zip(blocks, outputs, states, strict=False)
        ):
            return blocks
    return None


def first_tensor(output: Any) -> Any:
    """Return the output of a module, or its first item if it is a tuple or a list."""
    while isinstance(output, tuple | list) and len(output):
        output = output[0]
    return output if hasattr(output, "ndim") and output.ndim >= 2 else None


def equal(first: Any, second: Any) -> bool:
    """Return whether two tensors are equal. Unlike in `torch.equal`, NaN equals NaN."""
    import torch

    same_shape = first.shape == second.shape
    return same_shape and torch.allclose(first, second, rtol=0, atol=0, equal_nan=True)
