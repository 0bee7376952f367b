"""Find the files that a checkpoint needs, and check whether the files are complete."""

import contextlib
import hashlib
import json
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from shapesweep.checkpoint import layouts
from shapesweep.checkpoint.facts import description
from shapesweep.storage.files import LocalFile, is_file

#: Function that computes the sha256 of a file, given its path and stat result.
Digest = Callable[[Path, os.stat_result], str]

WEIGHTS = (
    "model.safetensors",
    "model.safetensors.index.json",
    "pytorch_model.bin",
    "pytorch_model.bin.index.json",
)
#: Files of all tokenizers of transformers for texts.
TOKENIZER = (
    *("tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "added_tokens.json"),
    *("vocab.json", "merges.txt", "vocab.txt", "tokenizer.model", "spiece.model", "spm.model"),
    *("sentencepiece.bpe.model", "sentencepiece.model", "source.spm", "target.spm", "bpe.codes"),
    *("dict.txt", "vocab-src.json", "vocab-tgt.json", "target_vocab.json", "entity_vocab.json"),
    *("prophetnet.tokenizer", "tiktoken.model", "tekken.json"),
)
#: Files of an adapter: its configuration, and its weights in two formats.
ADAPTER = ("adapter_config.json", "adapter_model.safetensors", "adapter_model.bin")


def model_files(folder: str | Path) -> list[Path]:
    """Return the files that a checkpoint needs: its configuration and one format of its weights.

    Returns
    -------
    list of Path
        Only files that exist; safetensors are preferred to pickles. For an adapter, the files of
        the base model are not included.
    """
    folder = Path(folder)
    if is_adapter(folder):
        weights = [folder / name for name in ADAPTER[1:] if is_file(folder / name)]
        return [folder / ADAPTER[0], *weights[:1]]
    names = [name for name in WEIGHTS if is_file(folder / name)][:1]
    if names and names[0].endswith(".index.json"):
        names += shards_of(folder / names[0])
    return [folder / name for name in ("config.json", *names) if is_file(folder / name)]


def is_adapter(folder: str | Path) -> bool:
    """Return whether a checkpoint is an adapter: it has a configuration of one, and no weights."""
    folder = Path(folder)
    has_weights = any(is_file(folder / name) for name in WEIGHTS)
    return is_file(folder / ADAPTER[0]) and not has_weights


def tokenizer_files(folder: str | Path) -> list[Path]:
    """Return the files of a checkpoint's tokenizer, from its folder or else the parent folder.

    Returns
    -------
    list of Path
        Empty if neither folder contains a tokenizer.
    """
    for parent in (Path(folder), Path(folder).parent):
        found = [parent / name for name in TOKENIZER if is_file(parent / name)]
        if found:
            return found
    return []


def shards_of(index: Path) -> list[str]:
    """Return the file names in an index of weights; empty if a name points outside the folder."""
    try:
        names = set(json.loads(index.read_bytes())["weight_map"].values())
    except (ValueError, KeyError, AttributeError, TypeError, RecursionError):
        return []
    return sorted(names) if all(map(_is_shard, names)) else []


def _is_shard(name: Any) -> bool:
    """Return whether a name is that of a file of weights inside the folder of the index."""
    is_plain = isinstance(name, str) and name.isprintable() and Path(name).name == name
    # File systems limit the length of names.
    return is_plain and name.endswith((".safetensors", ".bin")) and len(name.encode()) <= 255


@dataclass(frozen=True)
class Inspection:
    """Facts about a checkpoint that are read from its files. The model is not loaded.

    Attributes
    ----------
    config : dict
        The `config.json`; empty if it is missing or damaged.
    files : tuple of LocalFile
    commit : str
        Digest of the files' names and contents; empty if the files were not hashed.
    status : tuple of str
        Defects: `missing_config`, `missing_weights`, `missing_weights:<file>`, `damaged:<file>`,
        `unreadable:<file>` (`unreadable:.` is the folder), `adapter_beside_weights`; for an adapter
        also `adapter_without_base` and `base:<defect>`, a defect of its base model; or
        `lfs_pointer: …`, `other_layout: …` or `quantized: …`, with a reason and what to do.
    """

    config: dict[str, Any]
    files: tuple[LocalFile, ...]
    commit: str
    status: tuple[str, ...]


def inspect(folder: str | Path, digest: Digest | None = None) -> Inspection:
    """Describe a checkpoint with whole weights, without loading it.

    Parameters
    ----------
    folder : path-like
    digest : callable, optional
        Function that computes the sha256 of a file, given its path and stat result. Without a
        function, files are not hashed.

    Returns
    -------
    Inspection
    """
    folder = Path(folder)
    if folder.is_dir() and not os.access(folder, os.R_OK | os.X_OK):
        return Inspection({}, (), "", ("unreadable:.",))
    files = model_files(folder)
    config = description(folder) or {}
    refusal = layouts.refusal(folder, files, config)
    status = [refusal] if refusal else _defects(folder, files, config)
    found = local_files(files, digest)
    status += [f"unreadable:{file.path}" for file in found if digest and file.sha256 is None]
    commit = pin((file.path, file.sha256) for file in found) if digest else ""
    return Inspection(config, found, commit, tuple(status))


def local_files(paths: Sequence[Path], digest: Digest | None) -> tuple[LocalFile, ...]:
    """Describe files on this machine; the sha256 of a file that cannot be read is None."""
    found = []
    for path in paths:
        stat = path.stat()
        contents = None
        if digest:
            with contextlib.suppress(OSError):
                contents = digest(path, stat)
        found.append(LocalFile(path.name, stat.st_size, contents, "", stat.st_mtime_ns))
    return tuple(found)


def _defects(folder: Path, files: Sequence[Path], config: Mapping[str, Any]) -> list[str]:
    """Return the defects of the files of a checkpoint in the Hugging Face format."""
    status = []
    if folder / "config.json" not in files:
        status.append("missing_config")
    elif not config:
        status.append("damaged:config.json")
    weights = [path for path in files if path.name != "config.json"]
    if not weights:
        # Links of the Hub's cache are broken if their targets were removed.
        links = [f"missing_weights:{name}" for name in WEIGHTS if (folder / name).is_symlink()]
        status += links or ["missing_weights"]
    for path in weights:
        if path.name.endswith(".index.json"):
            wanted = shards_of(path)
            if not wanted:
                status.append(f"damaged:{path.name}")
            status += [f"missing_weights:{s}" for s in wanted if not is_file(folder / s)]
        elif path.suffix == ".safetensors" and not whole_safetensors(path):
            status.append(f"damaged:{path.name}")
    if weights and is_file(folder / ADAPTER[0]):
        # It is unknown whether the adapter is already merged into the weights.
        status.append("adapter_beside_weights")
    return status


def pin(contents: Iterable[tuple[str, str | None]]) -> str:
    """Return a digest of names and their contents, in the form of a commit."""
    text = "".join(f"{name} {digest}\n" for name, digest in contents)
    return hashlib.sha256(text.encode()).hexdigest()[:40]


def whole_safetensors(path: Path) -> bool:
    """Return whether the header of a safetensors file is valid and fits the size of the file."""
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="np"):
            return True
    except (SafetensorError, OSError):
        return False
