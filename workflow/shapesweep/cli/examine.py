"""The subcommands that examine files of the user: a checkpoint, and point clouds."""

from __future__ import annotations

import argparse
import re
import sys
from pathlib import Path

from shapesweep.errors import ShapesweepError


def checkpoint(arguments: argparse.Namespace) -> None:
    """Load a checkpoint, check all of its weights, and describe it."""
    import numpy as np
    import torch

    from shapesweep.checkpoint import adapters, layouts
    from shapesweep.checkpoint.forward import n_embeddings
    from shapesweep.checkpoint.hidden_states import find_stacks
    from shapesweep.checkpoint.load import load, notes
    from shapesweep.config.suite import ON_HUB
    from shapesweep.hub import bases

    is_on_hub = bool(arguments.base and re.fullmatch(ON_HUB, arguments.base))
    for folder in filter(None, (arguments.folder, None if is_on_hub else arguments.base)):
        if not Path(folder).is_dir():
            layout = layouts.find([Path(folder).name]) if Path(folder).is_file() else ""
            raise ShapesweepError(f"{folder}: {layout or 'there is no such folder'}")
    base = arguments.base if adapters.is_adapter(arguments.folder) else None
    if base and is_on_hub:
        base = bases.fetch(base)
    status = adapters.inspect(arguments.folder, base).status
    if status:
        raise ShapesweepError(f"{arguments.folder}: {', '.join(status)}")
    try:
        model = load(arguments.folder, base=base)
        with torch.inference_mode():
            # Special tokens, such as padding, have the first or the last ids.
            n_tokens = n_embeddings(model)
            stacks = find_stacks(model, (n_tokens // 2 + np.arange(16)) % n_tokens)
    except ShapesweepError as error:
        raise ShapesweepError(f"{arguments.folder}: {error}") from None
    families = " and ".join(anatomy.family for anatomy in stacks)
    n_blocks = " and ".join(str(anatomy.n_layers) for anatomy in stacks)
    described = f"{type(model).__name__} ({families}), {n_blocks} blocks"
    print(f"{arguments.folder}: {described}, {model.num_parameters():,} weights")
    for note in notes(model):
        print(f"{arguments.folder}: {note}")


def measure(arguments: argparse.Namespace) -> int:
    """Measure point clouds in files."""
    from shapesweep.geometry import cloud, cloud_file

    names = [name for part in arguments.metrics for name in part.split(",") if name]
    if arguments.local and len(arguments.files) > 1:
        raise ShapesweepError("--local needs exactly one file")
    status = 0
    for path in arguments.files:
        try:
            points = cloud_file.read(path, arguments.selection, arguments.tensor)
            if arguments.local:
                cloud.write_local(points, arguments.k, arguments.local)
            result = cloud.measure(points, names, arguments.k, arguments.n_points, arguments.seed)
            text = cloud.as_json(*result) if arguments.json else cloud.as_table(*result)
            print(text, flush=True)
        except ShapesweepError as error:
            # An error in one file does not affect the others.
            print(f"shapesweep: error: {error}", file=sys.stderr)
            status = 2
    return status
