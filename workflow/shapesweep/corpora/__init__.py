"""The corpora: what is shown to the models, one file each, named after the corpus.

`docs/how-to/add-a-corpus.md` tells how to add one. Takes in a text's documents; hands on
the documents of every corpus, with the special tokens of the run's own tokenizer.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from shapesweep.corpora import _documents
from shapesweep.corpora._config import CorpusConfig, LastConfig
from shapesweep.corpora._documents import special_tokens
from shapesweep.corpora._text import read_text, stdlib_text, text_file
from shapesweep.errors import CheckpointError
from shapesweep.plugins import discover

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase


__all__ = [
    "CORPORA",
    "Corpus",
    "CorpusConfig",
    "CorpusKind",
    "Documents",
    "LastConfig",
    "Material",
    "build",
    "read_text",
    "special_tokens",
    "stdlib_text",
    "text_file",
]

Documents = list[NDArray[np.int64]]


@dataclass(frozen=True)
class Material:
    """What a corpus is made of.

    Attributes
    ----------
    documents : list of ndarray of int64
        Token ids of the text's documents, without special tokens.
    ordinary : ndarray of int64
        Ids that text is made of: no special, unused or padded entry of the vocabulary.
    seed : int
        Of the configuration: the same seed, the same corpus.
    """

    documents: Documents
    ordinary: NDArray[np.int64]
    seed: int


@dataclass(frozen=True, kw_only=True)
class CorpusKind:
    """A way to make a corpus.

    Attributes
    ----------
    version : int
        Raise it when other documents come out: then, and only then, they are measured anew.
    make : callable
        From `Material` to as many documents of the same lengths, without special tokens.
    definition, asks : str
        For the reference: what it is, and what question it answers.
    pooling : {"tokens", "last"}
        Which tokens of a document are measured: all, or the last that is no special one. For the
        latter the text is cut into many short documents (`corpus.last`).
    """

    version: int
    make: Callable[[Material], Documents]
    definition: str
    asks: str
    pooling: str = "tokens"


@dataclass(frozen=True)
class Corpus:
    """Documents of token ids, special tokens included.

    Attributes
    ----------
    name : str
        Of `CORPORA`.
    documents : tuple of ndarray of int64
    n_prefix, n_suffix : int
        Special tokens that the tokenizer puts before and behind every document.
    pooling : str
        Of its `CorpusKind`.
    """

    name: str
    documents: tuple[NDArray[np.int64], ...]
    n_prefix: int
    n_suffix: int
    pooling: str = "tokens"

    def measured(self, length: int) -> NDArray[np.int64]:
        """Positions of the tokens that are measured in a document of so many."""
        if self.pooling == "last":
            return np.array([length - 1 - self.n_suffix])
        return np.arange(length)

    @property
    def digest(self) -> str:
        """Sha256 over the documents: equal digests, equal corpora."""
        digest = hashlib.sha256()
        for document in self.documents:
            digest.update(len(document).to_bytes(8, "little"))
            digest.update(document.astype("<i8").tobytes())
        return digest.hexdigest()

    @property
    def n_tokens(self) -> int:
        """Tokens of all documents."""
        return sum(map(len, self.documents))

    def batches(self, n_tokens: int) -> list[list[int]]:
        """Numbers of consecutive documents that go through a model together: equal lengths only."""
        return self.batches_of(self.documents, n_tokens)

    @staticmethod
    def batches_of(documents: Sequence[NDArray[np.int64]], n_tokens: int) -> list[list[int]]:
        """The same of any documents."""
        size = max(1, n_tokens // max(map(len, documents)))
        if len(set(map(len, documents))) > 1:
            size = 1
        numbers = range(len(documents))
        return [list(numbers[i : i + size]) for i in range(0, len(numbers), size)]


#: Every corpus by its name.
CORPORA: dict[str, CorpusKind] = discover(__name__, CorpusKind, "CORPUS")


def build(
    names: Sequence[str],
    text: str,
    tokenizer: PreTrainedTokenizerBase,
    settings: CorpusConfig,
    n_embeddings: int,
) -> list[Corpus]:
    """The corpora of a run.

    Parameters
    ----------
    names : sequence of str
        Of `CORPORA`.
    text : str
    tokenizer : transformers.PreTrainedTokenizerBase
    settings : shapesweep.measurement.CorpusConfig
    n_embeddings : int
        Rows of the model's embedding: ids beyond are never drawn.

    Returns
    -------
    list of Corpus

    Raises
    ------
    CheckpointError
        If the tokenizer does not belong to the model.
    """
    prefix, suffix = special_tokens(tokenizer)
    n_special = len(prefix) + len(suffix)
    ordinary = _documents.ordinary_tokens(tokenizer, n_embeddings)
    cuts = {"tokens": _documents.cut, "last": _documents.cut_short}
    materials: dict[str, Material] = {}
    for pooling in dict.fromkeys(CORPORA[name].pooling for name in names):
        bodies, seed = cuts[pooling](text, tokenizer, settings, n_special)
        highest = max(int(body.max(initial=0)) for body in bodies)
        if highest >= n_embeddings:
            raise CheckpointError(
                f"the tokenizer gives ids up to {highest}, the model has {n_embeddings} "
                "embeddings: they do not belong together"
            )
        materials[pooling] = Material(bodies, ordinary, seed)
    corpora = []
    for name in names:
        kind = CORPORA[name]
        bodies = kind.make(materials[kind.pooling])
        whole = tuple(np.concatenate([prefix, body, suffix]) for body in bodies)
        corpora.append(Corpus(name, whole, len(prefix), len(suffix), kind.pooling))
    return corpora
