"""Fingerprints: digests of everything that a result depends on.

Fingerprints of a plan are cheap to compute: they cover sizes and modification times, commits,
settings and versions. Fingerprints of a plan are part of the names of outputs. If an input of a job
changes, the job therefore runs again, whichever target is requested, even if Snakemake's own
records are lost. To reuse numbers from earlier jobs, a job compares fingerprints of file contents.
"""

import platform
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from shapesweep.activations import budget
from shapesweep.checkpoint.files import ADAPTER, model_files, tokenizer_files
from shapesweep.config.measurement import Measurement
from shapesweep.config.suite import AnySuite, EmbeddedSuite
from shapesweep.corpora import CORPORA, pinned_by, text_file
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
    """Return the fingerprint of the recipe of a trained run."""
    return digest(suite.with_run(run).model_dump())


def weights(definition: AnySuite, checkpoint: Listed) -> object:
    """Identify the files of a checkpoint without reading them.

    Parameters
    ----------
    definition : EmbeddedSuite, LocalSuite or HubSuite
    checkpoint : Listed

    Returns
    -------
    object
        Values that JSON can represent. If a file is replaced by a file with an older modification
        time (by rsync, for example), the values still change.
    """
    if isinstance(definition, EmbeddedSuite):
        return training(definition, checkpoint.run)
    if checkpoint.repository:
        contents = [file.sha256 or file.blob for file in checkpoint.files]
        return [checkpoint.commit, contents, checkpoint.tokenizer]
    adapter = [checkpoint.folder / name for name in ADAPTER]
    paths = model_files(checkpoint.folder) + tokenizer_files(checkpoint.folder) + adapter
    if checkpoint.base:
        paths += model_files(checkpoint.base) + tokenizer_files(checkpoint.base)
    return stats(paths)


def numbers(settings: Measurement) -> dict[str, Any]:
    """Return the settings that all numbers depend on."""
    return {**settings.geometry.model_dump(), "selections": list(SELECTIONS)}


def texts(settings: Measurement) -> dict[str, Any]:
    """Identify every text of the corpora without reading it.

    Returns
    -------
    dict
        For each text, the path, size and time of its file; what pins a text that is fetched; or the
        version of Python for `stdlib`, which is part of Python.
    """
    return {text: _state(text) for text in settings.corpus.texts}


def _state(text: str) -> str | list[Any]:
    if pin := pinned_by(text):
        return pin
    return [text, *map(list, stats([text]))] if text_file(text) else platform.python_version()


def text_digests(planned: dict[str, Any]) -> dict[str, str]:
    """Return the sha256 of every text file of the user, in hexadecimal.

    `stdlib` and texts that are fetched are left out, because plans already identify them.

    Parameters
    ----------
    planned : dict
        The result of `texts`, as recorded in the plan.

    Raises
    ------
    ShapesweepError
        If a text has changed since the plan was made.
    """
    found = {}
    for text, state in planned.items():
        if isinstance(state, str):
            continue
        # The state of the file is taken again after the file was read.
        found[text] = sha256(text) if Path(text).is_file() else ""
        if [text, *map(list, stats([text]))] != state:
            raise ShapesweepError(
                f"corpus.text: {text} has changed since the plan was made; run again"
            )
    return found


def measuring(definition: AnySuite, members: Iterable[Listed], settings: Measurement) -> str:
    """Return the fingerprint of the tables of a batch.

    Parameters
    ----------
    definition : EmbeddedSuite, LocalSuite or HubSuite
    members : iterable of Listed
    settings : Measurement
    """
    each = [[checkpoint.revision, *_checkpoint(definition, checkpoint)] for checkpoint in members]
    metrics = {name: metric.version for name, metric in METRICS.items()}
    return digest(each, _reading(settings), [*texts(settings).items()], numbers(settings), metrics)


def downloading(definition: AnySuite, members: Iterable[Listed]) -> str:
    """Return the fingerprint of the files of a batch on the Hub."""
    return digest(
        [[checkpoint.revision, weights(definition, checkpoint)] for checkpoint in members]
    )


def budgeting(definition: AnySuite, checkpoint: Listed, settings: Measurement, rise: float) -> str:
    """Return the fingerprint of the dimension budget of a checkpoint."""
    of_budget, settings = [rise, budget.VERSION], settings.for_budget
    shown = [*texts(settings).items()]
    return digest(_checkpoint(definition, checkpoint), _reading(settings), shown, of_budget)


def contents(checkpoint: Checkpoint, tokenizer: Path, settings: Measurement) -> str:
    """Return the fingerprint of a checkpoint's shards, computed from the checkpoint's files.

    Parameters
    ----------
    checkpoint : Checkpoint
        Row of the manifest, with digests of the checkpoint's files.
    tokenizer : Path
        Folder of its tokenizer.
    settings : Measurement
    """
    shown = [settings.text_digest(text) for text in settings.corpus.texts]
    tokens = [(path.name, sha256(path)) for path in tokenizer_files(tokenizer)]
    identity = [checkpoint.seed, checkpoint.step, checkpoint.tokens, checkpoint.commit]
    return digest([*checkpoint.key, *identity], _reading(settings), [shown, tokens])


def budget_contents(
    checkpoint: Checkpoint, tokenizer: Path, settings: Measurement, rise: float
) -> str:
    """Return the fingerprint of a dimension budget, computed from the checkpoint's files."""
    return digest(contents(checkpoint, tokenizer, settings.for_budget), rise, budget.VERSION)


def _checkpoint(definition: AnySuite, checkpoint: Listed) -> list[object]:
    identity = [checkpoint.seed, checkpoint.step, checkpoint.tokens, checkpoint.stage]
    return [*identity, weights(definition, checkpoint)]


def _reading(settings: Measurement) -> object:
    """Return the settings and versions on which reading checkpoints depends, except the text."""
    return {
        "corpus": settings.corpus.model_dump(exclude={"text"}),
        "corpora": {corpus: CORPORA[corpus].version for corpus in settings.corpora},
        "groups": settings.geometry.groups,
        "loader": settings.loader.model_dump(),
        "format_version": FORMAT_VERSION,
        "tables_version": schemas.VERSION,
    }
