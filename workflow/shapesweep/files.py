"""The files of a checkpoint: which of a folder or a commit it needs, and whether all are there."""

import contextlib
import hashlib
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Annotated

from pydantic import Field

WEIGHTS = (
    "model.safetensors",
    "model.safetensors.index.json",
    "pytorch_model.bin",
    "pytorch_model.bin.index.json",
)
TOKENIZER = (
    *("tokenizer.json", "tokenizer_config.json", "tokenizer.model", "vocab.txt", "vocab.json"),
    *("merges.txt", "spiece.model", "sentencepiece.bpe.model", "special_tokens_map.json"),
    "added_tokens.json",
)
_SHARD = re.compile(r"(model|pytorch_model)-(\d+)-of-(\d+)\.(safetensors|bin)")
_FORMATS = (("model", "safetensors"), ("pytorch_model", "bin"))


@dataclass(frozen=True)
class File:
    """A file of a commit, as the Hub lists it.

    Attributes
    ----------
    path : str
        Inside the repository.
    size : int
        In bytes.
    sha256 : str or None
        Of the contents; None of a small file, which git keeps by itself.
    blob : str
        The file's id in git, of the contents where `sha256` is None.
    """

    path: str
    size: Annotated[int, Field(ge=0, le=2**50)]
    sha256: str | None
    blob: str


@dataclass(frozen=True)
class LocalFile(File):
    """A file on this machine.

    Attributes
    ----------
    modified : int
        Modification time, in nanoseconds.
    """

    modified: int


def is_inside(path: str) -> bool:
    """Whether a path from outside leads to a place inside the folder that it is laid under."""
    pure = PurePosixPath(path)
    return not pure.is_absolute() and ".." not in pure.parts


def is_weights(file: File) -> bool:
    """Whether a file holds weights, not their index."""
    return file.path.endswith((".safetensors", ".bin"))


def model_files(folder: str | Path) -> list[Path]:
    """The files of a checkpoint that are needed: its configuration and one format of its weights.

    Returns
    -------
    list of Path
        Only what is there; safetensors before pickles.
    """
    folder = Path(folder)
    files = [folder / "config.json"] if (folder / "config.json").is_file() else []
    for name in WEIGHTS:
        path = folder / name
        if not path.is_file():
            continue
        files.append(path)
        if name.endswith(".index.json"):
            files += [folder / shard for shard in shards_of(path) if (folder / shard).is_file()]
        break
    return files


def tokenizer_files(folder: str | Path) -> list[Path]:
    """The files of a checkpoint's tokenizer: in its folder, else in the run's folder above it.

    Returns
    -------
    list of Path
        Empty where neither has one.
    """
    for place in (Path(folder), Path(folder).parent):
        found = [place / name for name in TOKENIZER if (place / name).is_file()]
        if found:
            return found
    return []


def stats(paths: Iterable[str | Path]) -> list[tuple[str, int, int]]:
    """Names, sizes and modification times of the files that exist.

    A run in training may remove its checkpoints at any moment.
    """
    found = []
    for path in map(Path, paths):
        with contextlib.suppress(OSError):
            stat = path.stat()
            if path.is_file():
                found.append((path.name, stat.st_size, stat.st_mtime_ns))
    return found


def sha256(path: str | Path) -> str:
    """Sha256 of a file, in hexadecimal."""
    with Path(path).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def shards_of(index: Path) -> list[str]:
    """Names in a weight index; only plain names, so that none points outside the folder."""
    try:
        names = set(json.loads(index.read_bytes())["weight_map"].values())
    except (ValueError, KeyError, AttributeError, TypeError, RecursionError):
        return []
    plain = all(isinstance(n, str) and n.isprintable() and Path(n).name == n for n in names)
    return sorted(names) if plain and names.isdisjoint({"", ".."}) else []


def needed(tree: Sequence[File], folder: str, with_code: bool) -> tuple[list[File], list[str]]:
    """The files of a checkpoint that are needed: its configuration and one format of its weights.

    Parameters
    ----------
    tree : sequence of File
        Of a commit.
    folder : str
        Inside the repository, empty at its top.
    with_code : bool
        Whether the model's own code is needed too.

    Returns
    -------
    files : list of File
    status : list of str
        `missing_config`, and what `choose_weights` finds.
    """
    inside = _inside(tree, folder)
    weights, status = choose_weights(inside)
    config = [inside["config.json"]] if "config.json" in inside else []
    code = [file for name, file in inside.items() if with_code and name.endswith(".py")]
    return [*config, *code, *weights], [*([] if config else ["missing_config"]), *status]


def tokenizer(tree: Sequence[File], folder: str) -> list[File]:
    """The files of a tokenizer; empty where there is none."""
    inside = _inside(tree, folder)
    files = [inside[name] for name in TOKENIZER if name in inside]
    # Old tokenizers do not say their own class: the model's configuration does.
    return [*files, inside["config.json"]] if files and "config.json" in inside else files


def choose_weights(files: Mapping[str, File]) -> tuple[list[File], list[str]]:
    """One whole format of a checkpoint's weights: safetensors if whole, else pickles.

    Parameters
    ----------
    files : dict of File
        By name, of one folder.

    Returns
    -------
    files : list of File
        Weights and their index.
    status : list of str
        `missing_weights` where there are none, `missing_weights:<file>` where some are.
    """
    flaws: list[str] = []
    for stem, extension in _FORMATS:
        whole = files.get(f"{stem}.{extension}")
        if whole:
            return [whole], []
        shards = {
            int(match[2]): (int(match[3]), file)
            for name, file in files.items()
            if (match := _SHARD.fullmatch(name)) and (match[1], match[4]) == (stem, extension)
        }
        index = files.get(f"{stem}.{extension}.index.json")
        if not shards and not index:
            continue
        count = max((n for n, _ in shards.values()), default=1)
        missing = [f"{stem}-{k:05}-of-{count:05}.{extension}" for k in range(1, count + 1)]
        missing = [name for k, name in enumerate(missing, 1) if k not in shards]
        if index and not missing:
            return [index, *(file for _, (_, file) in sorted(shards.items()))], []
        if not index:
            missing.append(f"{stem}.{extension}.index.json")
        flaws = flaws or [f"missing_weights:{name}" for name in missing]
    return [], flaws or ["missing_weights"]


def _inside(tree: Sequence[File], folder: str) -> dict[str, File]:
    """The files of one folder, by name."""
    paths = [(PurePosixPath(file.path), file) for file in tree]
    return {path.name: file for path, file in paths if str(path.parent) == (folder or ".")}
