"""Opening a checkpoint: its model, its tokenizer, and the corpora that it is shown.

Checkpoints that share a tokenizer are shown the same documents, which are cut once.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from shapesweep import corpora
from shapesweep.checkpoint import facts, load
from shapesweep.checkpoint.files import tokenizer_files
from shapesweep.config.measurement import Measurement
from shapesweep.corpora import Corpus, read_text
from shapesweep.errors import CheckpointError, TransientError
from shapesweep.storage import failures
from shapesweep.storage.files import LocalFile, sha256
from shapesweep.storage.manifests import Checkpoint


@dataclass(frozen=True)
class Opened:
    """A checkpoint as it is run.

    Attributes
    ----------
    model : transformers.PreTrainedModel
    tokenizer : transformers.PreTrainedTokenizerBase
    corpora : list of Corpus
    """

    model: Any
    tokenizer: Any
    corpora: list[Corpus]


def refuse(checkpoint: Checkpoint, *folders: Path) -> None:
    """Raise what is known against a checkpoint before it is loaded."""
    if not checkpoint.selected and not checkpoint.status:
        raise TransientError("the manifest does not choose it: it was made by another plan")
    if not checkpoint.selected:
        raise CheckpointError(", ".join(checkpoint.status))
    for folder in folders:
        failures.raise_recorded(folder)
    check_files(checkpoint, folders[0])


def check_files(checkpoint: Checkpoint, folder: Path) -> None:
    """Check that the files of a checkpoint are those of the manifest, by size and time.

    Raises
    ------
    TransientError
        If a file has changed since, or the folder is no longer there.
    """
    if not folder.is_dir():
        raise TransientError(f"{folder}: no such folder any more")
    for file in checkpoint.files:
        path = folder / PurePosixPath(file.path).name
        if not path.is_file():
            raise TransientError(f"{path.name} is missing: not fetched, or removed meanwhile")
        stat = path.stat()
        time = file.modified if isinstance(file, LocalFile) else None
        if stat.st_size != file.size or time not in (None, stat.st_mtime_ns):
            raise TransientError(f"{path.name} is not as the manifest has it: changed meanwhile")


class Opener:
    """Opens checkpoints, one after the other.

    Parameters
    ----------
    settings : Measurement
    names : sequence of str
        Of the corpora.
    """

    def __init__(self, settings: Measurement, names: Sequence[str]) -> None:
        self.settings, self.names = settings, names
        self._shown: dict[tuple[str, int], tuple[Any, list[Corpus]]] = {}

    def open(self, checkpoint: Checkpoint, folder: Path, tokenizer: Path) -> Opened:
        """Open a checkpoint, on the CPU.

        Parameters
        ----------
        one : Checkpoint
        folder, tokenizer : Path
            Where it lies, and where its tokenizer does.

        Raises
        ------
        CheckpointError
            If it cannot be run on the corpora.
        """
        import torch

        refuse(checkpoint, folder, tokenizer)
        torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = False
        model = load.load(folder, **self.settings.loader.model_dump())
        check_files(checkpoint, folder)
        n_embeddings = getattr(model.get_input_embeddings(), "num_embeddings", None)
        if n_embeddings is None:
            raise CheckpointError(f"{type(model).__name__} does not read tokens")
        tokens, shown = self._show(tokenizer, n_embeddings)
        _fits(model.config, shown)
        return Opened(model, tokens, shown)

    def _show(self, folder: Path, n_embeddings: int) -> tuple[Any, list[Corpus]]:
        """A tokenizer and the corpora that it makes, or what equal files have made before."""
        key = (_digest(folder), n_embeddings)
        if key not in self._shown:
            tokens, text = load.load_tokenizer(folder), self._read_text()
            shown = corpora.build(self.names, text, tokens, self.settings.corpus, n_embeddings)
            # Checkpoints of a run mostly share a tokenizer: the last one is enough.
            self._shown = {key: (tokens, shown)}
        return self._shown[key]

    def _read_text(self) -> str:
        return read_text(self.settings.corpus.text, self.settings.text_sha256)


def _digest(folder: Path) -> str:
    """Of a tokenizer's files, and of the kind of model that decides where they do not."""
    files = tokenizer_files(folder)
    read = [(path.name, sha256(path)) for path in files]
    kind = facts.description(files[0].parent) if files else None
    return hashlib.sha256(repr([read, (kind or {}).get("model_type")]).encode()).hexdigest()


def _fits(config: Any, every: Sequence[Corpus]) -> None:
    longest = max(len(document) for corpus in every for document in corpus.documents)
    limit = getattr(config, "max_position_embeddings", None)
    if limit and longest > limit:
        raise CheckpointError(
            f"a document has {longest} tokens, the model reads at most {limit} (see corpus.length; "
            "the paper's sampling needs a model that reads 512 characters)"
        )
