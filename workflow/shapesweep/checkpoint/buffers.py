"""Compute the tensors of a model that no file of weights contains.

transformers builds a model without memory, and then fills in the weights from files. Other tensors,
such as tables of rotary positions, are computed by the class when it is built. If a class does not
compute them again afterwards, they are uninitialised memory, whose values change from load to load.
"""

import copy
from collections.abc import Collection, Iterator
from typing import Any

from shapesweep.errors import CheckpointError, UnexpectedError, described, raise_if_memory


def restore(model: Any, stored: Collection[str] | None = None) -> None:
    """Give all tensors that are not stored the values that the class of the model computes.

    The class is built again with its buffers in memory. Its weights occupy no memory.

    Parameters
    ----------
    model : transformers.PreTrainedModel
        A model whose weights are loaded. It is changed in place.
    stored : collection of str, optional
        Names of the tensors in the files of weights. If they are given, buffers that could be
        stored, but are not, are also computed. transformers does this for its own classes.

    Raises
    ------
    CheckpointError
        If the class cannot be built, or does not compute a tensor.
    """
    wanted = [*_buffers(model, stored), *_plain_tensors(model)]
    if not wanted:
        return
    modules = dict(_built(model).named_modules())
    for place, name in wanted:
        computed = getattr(modules.get(place), name, None)
        module = model.get_submodule(place)
        mine = getattr(module, name)
        if computed is None or computed.is_meta or computed.shape != mine.shape:
            raise CheckpointError(
                f"its class does not compute the tensor {f'{place}.{name}'.lstrip('.')}, and no "
                "file contains it"
            )
        if name in module._buffers:
            module._buffers[name] = computed
        else:
            setattr(module, name, computed)


def _buffers(model: Any, stored: Collection[str] | None) -> Iterator[tuple[str, str]]:
    """Yield the module and the name of every buffer that the files do not contain."""
    known = _known(model, stored or ())
    for place, module in model.named_modules():
        for name, buffer in module._buffers.items():
            is_temporary = name in module._non_persistent_buffers_set
            is_absent = stored is not None and f"{place}.{name}".lstrip(".") not in known
            if buffer is not None and (is_temporary or is_absent):
                yield place, name


def absent_weights(model: Any, stored: Collection[str]) -> list[str]:
    """Return the names of all weights that the files do not contain under any name.

    A class may ignore weights that the files lack, and leave them uninitialised.
    """
    names: dict[int, list[str]] = {}
    # Weights with several names, such as a tied head, are stored under one of them.
    for name, weights in model.named_parameters(remove_duplicate=False):
        names.setdefault(id(weights), []).append(name)
    known = _known(model, stored)
    return [each[0] for each in names.values() if known.isdisjoint(each)]


def _known(model: Any, stored: Collection[str]) -> set[str]:
    """Return all names that stored tensors can have in a model.

    A base model may be stored with or without the prefix of the class.
    """
    prefix = f"{model.base_model_prefix}."
    names = {f"{start}{name}" for name in stored for start in ("", prefix)}
    return names | {name.removeprefix(prefix) for name in stored}


def _plain_tensors(model: Any) -> Iterator[tuple[str, str]]:
    """Yield the module and the name of every tensor attribute that has no memory."""
    import torch

    for place, module in model.named_modules():
        for name, value in vars(module).items():
            if isinstance(value, torch.Tensor) and value.is_meta:
                yield place, name


def _built(model: Any) -> Any:
    """Build the class of a model again, with its buffers in memory."""
    import torch
    from accelerate import init_empty_weights

    model_class, config = type(model), copy.deepcopy(model.config)
    # Random tensors must not change from load to load.
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        try:
            with init_empty_weights(include_buffers=False):
                return model_class(config)
        except Exception as error:  # a class that computes with its weights
            raise_if_memory(error)
            try:
                return model_class(copy.deepcopy(model.config))
            except Exception as again:
                raise_if_memory(again)
                raise UnexpectedError(f"its class cannot be built: {described(again)}") from again
