"""Select the files of a commit that a checkpoint or a tokenizer needs."""

import re
from collections.abc import Mapping, Sequence
from pathlib import PurePosixPath

from shapesweep.checkpoint.files import ADAPTER, TOKENIZER
from shapesweep.storage.files import File

_FORMATS = (("model", "safetensors"), ("pytorch_model", "bin"))


def is_weights(file: File) -> bool:
    """Return whether a file contains weights. An index of shards contains no weights."""
    return file.path.endswith((".safetensors", ".bin"))


def needed(tree: Sequence[File], folder: str, with_code: bool) -> tuple[list[File], list[str]]:
    """Return the files that a checkpoint needs: its configuration and one format of its weights.

    Parameters
    ----------
    tree : sequence of File
        Files of a commit.
    folder : str
        Folder in the repository; empty for its root.
    with_code : bool
        Whether the checkpoint also needs the model's own code.

    Returns
    -------
    files : list of File
    status : list of str
        Status from `choose_weights`, after `missing_config` if there is no configuration, and
        before `adapter_beside_weights` if the folder also contains an adapter.
    """
    inside = _inside(tree, folder)
    weights, status = choose_weights(inside)
    config = [inside["config.json"]] if "config.json" in inside else []
    code = [file for name, file in inside.items() if with_code and name.endswith(".py")]
    missing = [] if config else ["missing_config"]
    # It is unknown whether the adapter is already merged into the weights.
    adapter = ["adapter_beside_weights"] if weights and ADAPTER[0] in inside else []
    return [*config, *code, *weights], [*missing, *status, *adapter]


def tokenizer(tree: Sequence[File], folder: str) -> list[File]:
    """Return the files of a tokenizer; empty if the folder contains no tokenizer."""
    inside = _inside(tree, folder)
    files = [inside[name] for name in TOKENIZER if name in inside]
    # The class of an old tokenizer is stated only in the configuration of the model.
    return [*files, inside["config.json"]] if files and "config.json" in inside else files


def choose_weights(files: Mapping[str, File]) -> tuple[list[File], list[str]]:
    """Return the files of one complete format of the weights; safetensors are preferred to pickles.

    Parameters
    ----------
    files : dict of File
        Files of a folder, by name.

    Returns
    -------
    files : list of File
        Weights and their index.
    status : list of str
        Empty if the files of one format are complete. Otherwise `missing_weights` if there are no
        weights, or `missing_weights:<file>` for each file that is missing.
    """
    flaws: list[str] = []
    for stem, extension in _FORMATS:
        whole = files.get(f"{stem}.{extension}")
        if whole:
            return [whole], []
        shard = re.compile(rf"{stem}-(\d+)-of-(\d+)\.{extension}")
        matches = [(shard.fullmatch(name), file) for name, file in files.items()]
        shards = {int(match[1]): (int(match[2]), file) for match, file in matches if match}
        index = f"{stem}.{extension}.index.json"
        if not shards and index not in files:
            continue
        count = max((n for n, _ in shards.values()), default=1)
        missing = [
            f"{stem}-{k:05}-of-{count:05}.{extension}"
            for k in range(1, count + 1)
            if k not in shards
        ]
        if index not in files:
            missing.append(index)
        if not missing:
            return [files[index], *(file for _, (_, file) in sorted(shards.items()))], []
        flaws = flaws or [f"missing_weights:{name}" for name in missing]
    return [], flaws or ["missing_weights"]


def _inside(tree: Sequence[File], folder: str) -> dict[str, File]:
    """Return the files of one folder, by name."""
    paths = [(PurePosixPath(file.path), file) for file in tree]
    return {path.name: file for path, file in paths if str(path.parent) == (folder or ".")}
