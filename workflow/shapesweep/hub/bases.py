"""Fetch base models of adapters, each pinned by its commit.

A base model is kept in the cache of the Hub's client (`HF_HOME`). A program that trained the
adapters has usually left the base model there already.
"""

import json
from collections.abc import Iterable, Mapping
from pathlib import Path

from pydantic import TypeAdapter

from shapesweep import progress
from shapesweep.errors import ShapesweepError
from shapesweep.hub import client, listing
from shapesweep.hub.errors import RefusedError
from shapesweep.hub.files import needed, tokenizer
from shapesweep.storage import atomic

_FOLDERS = TypeAdapter(dict[str, str])


def fetch(base: str) -> Path:
    """Fetch a base model, or find it in the cache, and verify all of its files.

    Parameters
    ----------
    base : str
        `org/name@commit`.

    Returns
    -------
    Path
        Folder of the cache with the configuration, weights and tokenizer of the base model. The
        folder may also contain other files.

    Raises
    ------
    ShapesweepError
        If the base model cannot be fetched, or if it is not a whole model.
    """
    name, _, commit = base.partition("@")
    try:
        tree = client.tree(name, commit)
        files, status = needed(tree, "", with_code=False)
        if status:
            raise RefusedError(f"{name}: {', '.join(status)}")
        wanted = dict.fromkeys([*files, *tokenizer(tree, "")])
        n_bytes = sum(file.size for file in wanted)
        with progress.bar(n_bytes, "fetching", "bytes") as shown:
            arrived = [client.fetch(name, commit, file, None, shown) for file in wanted]
    except client.RefusedError as error:
        raise ShapesweepError(f"base: cannot fetch {base}: {error}") from None
    except client.UnreachableError as error:
        raise ShapesweepError(
            f"base: cannot fetch {base}: {error}. If this machine has no network, run `hf download "
            f"{name} --revision {commit} --local-dir <folder>` on a machine that has one, and set "
            "base to the copied folder"
        ) from None
    return arrived[0].parent


def write_folders(bases: Iterable[str], out: str | Path) -> None:
    """Fetch the base models of a suite, and write the paths of their folders.

    Parameters
    ----------
    bases : iterable of str
        Each is `org/name@commit`.
    out : path-like
        The JSON file to write. It maps each base model to the path of its folder.

    Raises
    ------
    ShapesweepError
        As `fetch` does.
    """
    folders = {base: str(fetch(base)) for base in bases}
    with atomic.file(Path(out)) as partial:
        partial.write_text(json.dumps(folders), encoding="utf-8")


def read_folders(path: str | Path) -> Mapping[str, Path]:
    """Read the paths that `write_folders` wrote, and check that the folders exist.

    Raises
    ------
    ShapesweepError
        If the file is absent or damaged, or if a base model has been removed from the cache.
    """
    found = listing.read_as(_FOLDERS, path)
    for base, folder in found.items():
        if not Path(folder, "config.json").is_file():
            raise ShapesweepError(
                f"base: {base} is no longer in {folder}; to fetch it again, remove {path}, and run "
                "again"
            )
    return {base: Path(folder) for base, folder in found.items()}
