"""Fingerprints: digests of all that a result depends on.

Snakemake compares the fingerprints of a plan, which cost no more than looking at files: sizes and
modification times, commits, settings and versions. They are part of file names, so that every
target sees a change, also where Snakemake's own records are missing. Jobs compare fingerprints of
contents, to reuse what they have measured before.
"""

import hashlib
import platform
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from shapesweep.activations import budget
from shapesweep.checkpoint.files import model_files, tokenizer_files
from shapesweep.config.measurement import Measurement
from shapesweep.config.suite import AnySuite, EmbeddedSuite
from shapesweep.corpora import CORPORA, read_text, text_file
from shapesweep.errors import ShapesweepError
from shapesweep.manifest.selection import Listed
from shapesweep.metrics import METRICS
from shapesweep.storage import schemas
from shapesweep.storage.digests import digest
from shapesweep.storage.files import sha256, stats
from shapesweep.storage.manifests import Checkpoint
from shapesweep.storage.selections import SELECTIONS
from shapesweep.storage.shards import FORMAT_VERSION


def training(suite: EmbeddedSuite, run: str) -> str:
    """What the checkpoints of a trained run depend on: its recipe."""
    return digest(suite.with_run(run).model_dump())


def weights(definition: AnySuite, checkpoint: Listed) -> object:
    """What tells the files of a checkpoint from others, without reading them.

    Parameters
    ----------
    definition : EmbeddedSuite, LocalSuite or HubSuite
    one : Listed

    Returns
    -------
    object
        Of JSON's types. A file that was mended with an old time (by rsync, say) differs by its
        size or its time.
    """
    if isinstance(definition, EmbeddedSuite):
        return training(definition, checkpoint.run)
    if checkpoint.published:
        contents = [file.sha256 or file.blob for file in checkpoint.published.files]
        return [checkpoint.published.commit, contents, checkpoint.tokenizer]
    return stats(model_files(checkpoint.folder) + tokenizer_files(checkpoint.folder))


def numbers(settings: Measurement) -> dict[str, Any]:
    """The settings that all numbers depend on."""
    return {**settings.geometry.model_dump(), "selections": list(SELECTIONS)}


def text(settings: Measurement) -> str | list[object]:
    """Path, size and time of the file that the corpora are cut from, or the version of Python."""
    path = text_file(settings.corpus.text)
    # The text `stdlib` is part of Python.
    return [str(path), *map(list, stats([path]))] if path else platform.python_version()


def text_sha256(planned: str | list[object]) -> str:
    """Sha256 of the text that a plan was made with, in hexadecimal; empty if it is no file.

    Parameters
    ----------
    planned : str or list
        What `text` gave the plan.

    Raises
    ------
    ShapesweepError
        If the file has changed since.
    """
    if isinstance(planned, str):
        return ""
    path = Path(str(planned[0]))
    found = sha256(path) if path.is_file() else ""
    if [str(path), *map(list, stats([path]))] != planned:
        raise ShapesweepError(f"corpus.text: {path} has changed since the plan was made; run again")
    return found


def measuring(definition: AnySuite, members: Iterable[Listed], settings: Measurement) -> str:
    """What the tables of a batch depend on.

    Parameters
    ----------
    definition : EmbeddedSuite, LocalSuite or HubSuite
    members : iterable of Listed
    settings : Measurement
    """
    each = [[checkpoint.revision, *_checkpoint(definition, checkpoint)] for checkpoint in members]
    metrics = {name: metric.version for name, metric in METRICS.items()}
    return digest(each, _reading(settings), text(settings), numbers(settings), metrics)


def downloading(definition: AnySuite, members: Iterable[Listed]) -> str:
    """What the files of a batch on the Hub depend on."""
    return digest(
        [[checkpoint.revision, weights(definition, checkpoint)] for checkpoint in members]
    )


def budgeting(definition: AnySuite, checkpoint: Listed, settings: Measurement, rise: float) -> str:
    """What the dimension budget of a checkpoint depends on."""
    of_budget, settings = [rise, budget.VERSION], settings.for_budget
    return digest(
        _checkpoint(definition, checkpoint), _reading(settings), text(settings), of_budget
    )


def contents(checkpoint: Checkpoint, tokenizer: Path, settings: Measurement) -> str:
    """What the shards of a checkpoint depend on, by the contents of its files.

    Parameters
    ----------
    checkpoint : Checkpoint
        Of the manifest, with the digests of its files.
    tokenizer : Path
        The folder that holds its tokenizer.
    settings : Measurement
    """
    shown = hashlib.sha256(
        read_text(settings.corpus.text, settings.text_sha256).encode()
    ).hexdigest()
    tokens = [(path.name, sha256(path)) for path in tokenizer_files(tokenizer)]
    identity = [checkpoint.seed, checkpoint.step, checkpoint.tokens, checkpoint.commit]
    return digest([*checkpoint.key, *identity], _reading(settings), [shown, tokens])


def budget_contents(
    checkpoint: Checkpoint, tokenizer: Path, settings: Measurement, rise: float
) -> str:
    """What the dimension budget of a checkpoint depends on, by the contents of its files."""
    return digest(contents(checkpoint, tokenizer, settings.for_budget), rise, budget.VERSION)


def _checkpoint(definition: AnySuite, checkpoint: Listed) -> list[object]:
    return [checkpoint.seed, checkpoint.step, checkpoint.tokens, weights(definition, checkpoint)]


def _reading(settings: Measurement) -> object:
    """How checkpoints are read, but for the contents of the text."""
    return {
        "corpus": settings.corpus.model_dump(exclude={"text"}),
        "corpora": {corpus: CORPORA[corpus].version for corpus in settings.corpora},
        "groups": settings.geometry.groups,
        "loader": settings.loader.model_dump(),
        "format_version": FORMAT_VERSION,
        "tables_version": schemas.VERSION,
    }
