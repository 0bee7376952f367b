"""Read the names of weights, and a few of the weights, from the files of a checkpoint."""

import contextlib
import re
import zipfile
from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path
from typing import Any

from shapesweep.checkpoint.files import model_files
from shapesweep.checkpoint.prefixes import without_wrappers
from shapesweep.errors import CheckpointError, described, raise_if_memory

#: Names of the constants of causal attention that old versions of transformers saved as weights.
_MASK = re.compile(r"(.+\.)?(attn|attention)\.(bias|masked_bias)")
#: Old versions of transformers replaced the scores of masked tokens by -10⁴ or -10⁹.
_MASKED_SCORE = -1e3


def weight_names(folder: str | Path) -> list[str]:
    """Return the names of all tensors in the weights of a checkpoint, without reading the tensors.

    A name occurs as often as it occurs in the files.

    Raises
    ------
    CheckpointError
        If a file is damaged.
    """
    names: list[str] = []
    for path in _paths(folder):
        with _opened(path) as file:
            names += file.keys()
    return names


def repeated(names: Sequence[str], base: str = "") -> list[str]:
    """Return the names of weights that are in the files twice.

    Parameters
    ----------
    names : sequence of str
        The result of `weight_names`.
    base : str
        The class's `base_model_prefix`, which transformers adds or removes.

    Examples
    --------
    >>> repeated(["_orig_mod.a.w", "a.w", "b.w"])
    ['_orig_mod.a.w', 'a.w']
    """
    bare = {name: without_wrappers(name).removeprefix(f"{base}.") for name in names}
    counts = Counter(bare[name] for name in names)
    return sorted(name for name in bare if counts[bare[name]] > 1)


def not_floats(folder: str | Path) -> list[str]:
    """Return the names of weights whose values are not floats, such as quantised weights."""
    found = []
    for path in _paths(folder):
        with _opened(path) as file:
            wanted = filter(re.compile(r"(.+\.)?weight").fullmatch, file.keys())
            found += [name for name in wanted if not file.is_float(name)]
    return sorted(found)


def masks(folder: str | Path, keys: Collection[str]) -> list[str]:
    """Return those names of weights that belong to constants of causal attention.

    Old versions of transformers saved the mask of GPT-2, GPT-Neo, GPT-J and GPT-NeoX (`attn.bias`,
    which is 1 where a token may attend), and the score of masked tokens (`attn.masked_bias`).

    Parameters
    ----------
    folder : path-like
    keys : collection of str
        Names of weights. Prefixes may be missing from them, or added to them.
    """
    wanted = [key for key in keys if _MASK.fullmatch(key)]
    found = []
    for path in _paths(folder) if wanted else ():
        with _opened(path) as file:
            for name in filter(_MASK.fullmatch, file.keys()):
                fits = [key for key in wanted if key.endswith(name) or name.endswith(key)]
                if fits and _is_mask(file.get_tensor(name)):
                    found += fits
    return found


def _is_mask(tensor: Any) -> bool:
    if tensor.numel() == 1:
        return bool(tensor.item() <= _MASKED_SCORE)
    if tensor.ndim != 4 or tensor.shape[2] != tensor.shape[3]:
        return False
    mask = tensor.float()
    return bool(((mask == 0) | (mask == 1)).all() and mask.tril().equal(mask))


def _paths(folder: str | Path) -> list[Path]:
    return [path for path in model_files(folder) if path.suffix in (".safetensors", ".bin")]


class _Safetensors:
    """The tensors in a safetensors file."""

    def __init__(self, file: Any) -> None:
        self.keys, self.get_tensor, self._file = file.keys, file.get_tensor, file

    def is_float(self, name: str) -> bool:
        return str(self._file.get_slice(name).get_dtype()).startswith(("F", "BF"))


class _Pickle:
    """The tensors in a pickle, with the methods of `_Safetensors`."""

    def __init__(self, path: Path) -> None:
        import torch

        # Files of torch before version 1.6 are no zip files, and cannot be mapped.
        self._tensors = torch.load(
            path, map_location="cpu", mmap=zipfile.is_zipfile(path), weights_only=True
        )
        if not isinstance(self._tensors, dict) or not all(
            isinstance(name, str) for name in self._tensors
        ):
            raise CheckpointError("contains other objects than tensors with names")

    def keys(self) -> Collection[str]:
        return self._tensors.keys()

    def get_tensor(self, name: str) -> Any:
        return self._tensors[name]

    def is_float(self, name: str) -> bool:
        return bool(self._tensors[name].is_floating_point())


@contextlib.contextmanager
def _opened(path: Path) -> Iterator[Any]:
    """Open a file of weights.

    Raises
    ------
    CheckpointError
        If the file is damaged.
    """
    from safetensors import safe_open

    try:
        if path.suffix == ".bin":
            yield _Pickle(path)
        else:
            with safe_open(path, framework="pt") as file:
                yield _Safetensors(file)
    except Exception as error:  # loaders raise all kinds of errors for damaged files
        raise_if_memory(error)
        raise CheckpointError(f"{path.name} is damaged: {described(error)}") from None
