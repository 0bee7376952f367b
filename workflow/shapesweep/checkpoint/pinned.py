"""A folder that contains the files of a checkpoint and nothing else, for transformers and peft."""

import contextlib
import json
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from shapesweep.checkpoint.facts import description
from shapesweep.checkpoint.files import model_files

#: Keys of a `config.json` that choose a program for attention. This program may need a GPU or a
#: package that is not installed. All programs compute the same states.
_KERNELS = ("_attn_implementation", "attn_implementation", "_attn_implementation_internal")


@contextlib.contextmanager
def only_pinned(folder: str | Path) -> Iterator[Path]:
    """Provide a folder with links to the files of a checkpoint, and to nothing else.

    transformers and peft also read files that are not part of the checkpoint. The folder contains
    copies of `config.json` and of the index of weights where transformers could not read them: the
    copies lack the choice of a program for attention and an empty `quantization_config`, and have
    the key `metadata`.
    """
    with tempfile.TemporaryDirectory(prefix="shapesweep-") as name:
        for path in model_files(folder):
            link = Path(name, path.name)
            read = description(path.parent, path.name) if path.suffix == ".json" else None
            readable = _readable(path.name, read) if read else read
            if readable == read:
                link.symlink_to(path.absolute())
            else:
                link.write_text(json.dumps(readable), encoding="utf-8")
        yield Path(name)


def _readable(name: str, read: dict[str, Any]) -> dict[str, Any]:
    """Return the contents of a file in JSON in the form that transformers can read."""
    if name == "config.json":
        return _without_kernels(read)
    return {"metadata": {}, **read} if name.endswith(".index.json") else read


def _without_kernels(config: dict[str, Any]) -> dict[str, Any]:
    return {
        key: _without_kernels(value) if isinstance(value, dict) else value
        for key, value in config.items()
        if key not in _KERNELS and (value or key != "quantization_config")
    }
