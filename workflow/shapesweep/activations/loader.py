"""Load checkpoints: the model, the tokenizer and the corpora.

If successive checkpoints share a tokenizer, the text is cut into documents only once.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from shapesweep import corpora
from shapesweep.checkpoint import facts, load
from shapesweep.checkpoint.files import tokenizer_files
from shapesweep.checkpoint.forward import n_embeddings
from shapesweep.checkpoint.tokenizer import load_tokenizer
from shapesweep.config.measurement import Measurement
from shapesweep.corpora import Corpus, CorpusLabel
from shapesweep.errors import CheckpointError, TransientError
from shapesweep.storage import failures
from shapesweep.storage.files import LocalFile, sha256
from shapesweep.storage.manifests import Checkpoint


@dataclass(frozen=True)
class LoadedCheckpoint:
    """A checkpoint that is ready to run.

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
    """Raise an error if a checkpoint is already known to be unusable. Nothing is loaded."""
    if not checkpoint.selected:
        if checkpoint.status:
            raise CheckpointError(", ".join(checkpoint.status))
        raise TransientError(
            "the manifest was written for another plan, which does not select this checkpoint"
        )
    for folder in folders:
        failures.raise_recorded(folder)
    check_files(checkpoint, folders[0])


def check_files(checkpoint: Checkpoint, folder: Path) -> None:
    """Check that the sizes and modification times of a checkpoint's files match the manifest.

    Raises
    ------
    TransientError
        If a file is missing or has changed, or the folder no longer exists.
    """
    if not folder.is_dir():
        raise TransientError(f"{folder}: the folder no longer exists")
    for file in checkpoint.files:
        is_local = isinstance(file, LocalFile)
        path = folder / (file.path if is_local else PurePosixPath(file.path).name)
        if not path.is_file():
            raise TransientError(
                f"{path.name} is missing: it was not downloaded, or has been removed"
            )
        stat = path.stat()
        # The manifest has modification times only for files on this machine.
        modified = getattr(file, "modified", stat.st_mtime_ns)
        if (stat.st_size, stat.st_mtime_ns) != (file.size, modified):
            raise TransientError(f"{path.name} differs from the manifest: the file has changed")


class Loader:
    """Loads checkpoints one after the other.

    Parameters
    ----------
    settings : Measurement
    names : sequence of str
        Names of the corpora.
    """

    def __init__(self, settings: Measurement, names: Sequence[str]) -> None:
        self.settings, self.names = settings, names
        self._cached: dict[tuple[str, int], tuple[Any, list[Corpus]]] = {}

    def load(self, checkpoint: Checkpoint, folder: Path, tokenizer: Path) -> LoadedCheckpoint:
        """Load a checkpoint into CPU memory.

        Parameters
        ----------
        checkpoint : Checkpoint
        folder, tokenizer : Path
            Folders of the checkpoint's files and of its tokenizer.

        Raises
        ------
        CheckpointError
            If the checkpoint cannot be run on the corpora.
        """
        import torch

        refuse(checkpoint, folder, tokenizer)
        torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = False
        model = load.load(folder, base=checkpoint.base, **self.settings.loader.model_dump())
        check_files(checkpoint, folder)
        tokens, built = self._tokenize(tokenizer, n_embeddings(model))
        lengths = {corpus.name: max(map(len, corpus.documents)) for corpus in built}
        limit = getattr(model.config, "max_position_embeddings", None)
        name, longest = max(lengths.items(), key=lambda item: item[1])
        if limit and longest > limit:
            key = self.settings.corpus.variant(CorpusLabel.parse(name).variant).key
            raise CheckpointError(
                f"a document of the corpus {name} has {longest} tokens, but the model reads at "
                f"most {limit} (see {key}.length; the sampling `paper` needs a model that reads "
                "512 characters)"
            )
        return LoadedCheckpoint(model, tokens, built)

    def _tokenize(self, folder: Path, n_rows: int) -> tuple[Any, list[Corpus]]:
        """Return a tokenizer and its corpora; reuse both if the tokenizer's files are unchanged."""
        key = (_digest(folder), n_rows)
        if key not in self._cached:
            texts = self.settings.read_texts()
            tokens = load_tokenizer(folder, texts[self.settings.corpus.text])
            built = corpora.build(self.names, texts, tokens, self.settings.corpus, n_rows)
            # Checkpoints of a run mostly share a tokenizer, so it is enough to keep the last
            # tokenizer.
            self._cached = {key: (tokens, built)}
        return self._cached[key]


def _digest(folder: Path) -> str:
    """Compute a digest of a tokenizer's files and of the model type.

    The model type may determine the class of the tokenizer.
    """
    files = tokenizer_files(folder)
    read = [(path.name, sha256(path)) for path in files]
    kind = facts.description(files[0].parent) if files else None
    return hashlib.sha256(repr([read, (kind or {}).get("model_type")]).encode()).hexdigest()
