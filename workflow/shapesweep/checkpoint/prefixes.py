"""Remove the prefixes that wrappers of a model add to the names of its weights.

`torch.compile`, `DistributedDataParallel`, FSDP, activation checkpointing and Lightning wrap a
model, or its blocks, in another module. The weights of a wrapped module have the name of the
wrapper's attribute in their names, such as `_orig_mod.model.norm.weight`.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

#: A part of a name that a wrapper adds: `module`, `_orig_mod`, `_fsdp_wrapped_module`,
#: `_checkpoint_wrapped_module`, `_forward_module` and others of this kind.
_WRAPPER = r"(?<![^.])(?:module|_(?:\w+_)?(?:mod|module|model))\."
#: Maximum number of parts at the start of all names that are removed.
_MAX_PARTS = 3


@dataclass(frozen=True)
class Removal:
    """Parts that are removed from the names of weights.

    Attributes
    ----------
    start : str
        A prefix of all names.
    wrappers : tuple of str
        Parts that are removed anywhere in the names.
    passes : int
        Maximum number of wrappers in a name.
    """

    start: str = ""
    wrappers: tuple[str, ...] = ()
    passes: int = 0

    def key_mapping(self) -> dict[str, str]:
        """Return the patterns to remove, for `key_mapping` of transformers' `from_pretrained`."""
        # Each pattern removes its first match only. A comment makes equal patterns distinct keys.
        mapping = {f"{_WRAPPER}(?#{k})": "" for k in range(self.passes)}
        return mapping | ({f"^{re.escape(self.start)}": ""} if self.start else {})

    def __call__(self, name: str) -> str:
        """Return a name without the parts."""
        bare = without_wrappers(name) if self.wrappers else name
        return bare.removeprefix(self.start)

    def __bool__(self) -> bool:
        return bool(self.start or self.wrappers)

    def __str__(self) -> str:
        return ", ".join(filter(None, (*self.wrappers, self.start)))


def removals(names: Sequence[str], base: str = "") -> Iterator[Removal]:
    """Yield what to remove from the names of weights, in the order in which to try it.

    Parameters
    ----------
    names : sequence of str
        Names of all tensors in the files.
    base : str
        The class's `base_model_prefix`, which transformers itself adds or removes.

    Yields
    ------
    Removal
        First all wrappers, if there are any; then nothing; then parts that all names share at
        their start.

    Examples
    --------
    >>> [str(removal) for removal in removals(["_orig_mod.a.w", "_orig_mod.b._orig_mod.w"])]
    ['_orig_mod.', '']
    >>> [str(removal) for removal in removals(["net.a.w", "net.b.w"])]
    ['', 'net.']
    """
    found = [re.findall(_WRAPPER, name) for name in names]
    wrappers = tuple(sorted({part for parts in found for part in parts}))
    passes = max(map(len, found), default=0)
    if wrappers:
        yield Removal("", wrappers, passes)
    yield Removal()
    bare = [without_wrappers(name) for name in names]
    shared = _shared_start(bare)
    for n in range(1, min(len(shared), _MAX_PARTS) + 1):
        if shared[:n] != [base]:
            yield Removal("".join(f"{part}." for part in shared[:n]), wrappers, passes)


def without_wrappers(name: str) -> str:
    """Return the name of a weight without the parts that wrappers add."""
    return re.sub(_WRAPPER, "", name)


def _shared_start(names: Sequence[str]) -> list[str]:
    """Return the parts that all names have at their start, without the last part of any name."""
    shared = []
    for parts in zip(*(name.split(".")[:-1] for name in names), strict=False):
        if len(set(parts)) > 1:
            break
        shared.append(parts[0])
    return shared
