"""Corpora: the documents on which the models are measured.

Each corpus is defined in a file that has the name of the corpus.
Input: a text, and the tokenizer of a run.
Output: documents of token ids for every corpus, with the special tokens of the tokenizer.
Imported by: config, training, activations, plan, cli. `docs/how-to/add-a-corpus.md` shows how to
add a corpus.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache, partial
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from shapesweep.corpora import _documents
from shapesweep.corpora._config import CorpusConfig, LastConfig, PassagesConfig
from shapesweep.corpora._documents import PAPER_DOCUMENTS, special_tokens
from shapesweep.corpora._sources import (
    DatasetText,
    NamedText,
    check_text,
    fetched_file,
    language,
    named_texts,
    pinned_by,
    source,
)
from shapesweep.corpora._text import read_text, stdlib_text, text_file, text_sha256
from shapesweep.errors import CheckpointError, ShapesweepError
from shapesweep.plugins import discover
from shapesweep.storage.selections import DRAWS

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase


__all__ = [
    "CORPORA",
    "PAPER_DOCUMENTS",
    "Corpus",
    "CorpusConfig",
    "CorpusKind",
    "CorpusLabel",
    "DatasetText",
    "Documents",
    "LastConfig",
    "Material",
    "NamedText",
    "PassagesConfig",
    "build",
    "check_text",
    "expand",
    "fetched_file",
    "language",
    "named_texts",
    "pinned_by",
    "read_text",
    "source",
    "special_tokens",
    "stdlib_text",
    "text_file",
    "text_sha256",
]

Documents = list[NDArray[np.int64]]


@dataclass(frozen=True)
class Material:
    """The input of a corpus.

    Attributes
    ----------
    documents : list of ndarray of int64
        Token ids of the text's documents, without special tokens.
    ordinary : ndarray of int64
        Ids of tokens that can occur in a text, without special, unused or padded entries of the
        vocabulary.
    seed : int
        Random seed of the configuration.
    """

    documents: Documents
    ordinary: NDArray[np.int64]
    seed: int


@dataclass(frozen=True, kw_only=True)
class CorpusKind:
    """A kind of corpus.

    Attributes
    ----------
    version : int
        Version of the documents. Increase the version when the documents change, so that the corpus
        is measured again.
    make : callable
        Function that takes `Material`, and returns documents without special tokens. The number and
        the lengths of the documents must be the same as in `Material.documents`.
    definition, asks : str
        Texts for the reference: what the corpus is, and which question it answers.
    pooling : {"tokens", "last", "passages"}
        Which tokens of a document are measured: all tokens, the last token that is not special, or
        a few tokens at random positions. For `last` and `passages`, the text is cut into many short
        documents (`corpus.last`, `corpus.passages`).
    """

    make: Callable[[Material], Documents]
    definition: str
    asks: str
    pooling: str = "tokens"
    version: int = 1


@dataclass(frozen=True)
class Corpus:
    """A corpus: documents of token ids, including special tokens.

    Attributes
    ----------
    name : str
        Name, whose parts are those of a `CorpusLabel`.
    documents : tuple of ndarray of int64
    n_prefix, n_suffix : int
        Number of special tokens before and after every document.
    pooling : str
        As in `CorpusKind`.
    seed : int
        Random seed of the positions that are measured.
    """

    name: str
    documents: tuple[NDArray[np.int64], ...]
    n_prefix: int
    n_suffix: int
    pooling: str = "tokens"
    seed: int = 0

    def measured(self, number: int) -> NDArray[np.int64]:
        """Return the positions of the tokens that are measured in the document with this number.

        For `passages`, these are `DRAWS` random positions after the first. In the first documents,
        all positions after the first are measured, so that these documents contain `DRAWS` times as
        many tokens as there are documents.
        """
        length = len(self.documents[number])
        if self.pooling == "last":
            return np.array([length - 1 - self.n_suffix])
        if self.pooling == "tokens":
            return np.arange(length)
        body = np.arange(max(1, self.n_prefix), length - self.n_suffix)
        if number * len(body) < DRAWS * len(self.documents) or len(body) <= DRAWS:
            return body
        rng = np.random.default_rng([self.seed, 4, number])
        return np.sort(rng.choice(body, DRAWS, replace=False))

    def shifted(self, start: int) -> Corpus:
        """Return the input of a decoder that reads each document after a start token.

        The documents lack their last token.
        """
        first = np.array([start], dtype=np.int64)
        documents = tuple(np.concatenate([first, body[:-1]]) for body in self.documents)
        ends = self.n_prefix + 1, max(self.n_suffix - 1, 0)
        return replace(self, documents=documents, n_prefix=ends[0], n_suffix=ends[1])

    @property
    def digest(self) -> str:
        """The SHA-256 digest of all documents."""
        digest = hashlib.sha256()
        for document in self.documents:
            digest.update(len(document).to_bytes(8, "little"))
            digest.update(document.astype("<i8").tobytes())
        return digest.hexdigest()

    def batches(self, n_tokens: int, some: Documents | None = None) -> list[list[int]]:
        """Divide documents (by default, all documents) into batches of equally long documents."""
        lengths = [len(each) for each in (self.documents if some is None else some)]
        size = 1 if len(set(lengths)) > 1 else max(1, n_tokens // lengths[0])
        numbers = range(len(lengths))
        return [list(numbers[i : i + size]) for i in range(0, len(numbers), size)]


#: All corpora by name.
CORPORA: dict[str, CorpusKind] = discover(__name__, CorpusKind, "CORPUS")


@dataclass(frozen=True)
class CorpusLabel:
    """The parts of a corpus's name: `<kind>`, `<kind>.<variant>` or `<kind>.<variant>-<sample>`.

    Attributes
    ----------
    kind : str
        Name in `CORPORA`.
    variant : str
        Name in `corpus.variants`; empty for the text and the documents of `corpus` itself.
    sample : int
        Number of the sample of documents; the first sample has no number in its name.
    """

    kind: str
    variant: str = ""
    sample: int = 1

    @classmethod
    def parse(cls, name: str) -> CorpusLabel:
        """Return the parts of a name.

        Examples
        --------
        >>> CorpusLabel.parse("text.long-2")
        CorpusLabel(kind='text', variant='long', sample=2)
        """
        name, _, sample = name.partition("-")
        kind, _, variant = name.partition(".")
        return cls(kind, variant, int(sample or 1))

    def __str__(self) -> str:
        variant = f".{self.variant}" if self.variant else ""
        return f"{self.kind}{variant}{f'-{self.sample}' if self.sample > 1 else ''}"


def expand(names: Sequence[str], settings: CorpusConfig) -> list[tuple[CorpusLabel, CorpusConfig]]:
    """Return all corpora of a sweep: every sample of every corpus, for all variants.

    A variant has no corpora whose documents would be the same as without the variant, or as those
    of an earlier variant. For example, the documents of the corpus `passages` do not depend on
    `corpus.length`.

    Parameters
    ----------
    names : sequence of str
        Names in `CORPORA`.
    settings : CorpusConfig

    Returns
    -------
    list of (CorpusLabel, CorpusConfig)
    """
    found, known = [], set()
    for variant in ["", *settings.variants]:
        mine = settings.variant(variant)
        for name in names:
            documents = name, _identity(mine, CORPORA[name].pooling)
            if documents not in known:
                known.add(documents)
                numbers = range(1, mine.samples + 1)
                found += [(CorpusLabel(name, variant, number), mine) for number in numbers]
    return found


def _identity(settings: CorpusConfig, pooling: str) -> tuple[object, ...]:
    """Return the keys of a configuration that determine the documents of a corpus."""
    if pooling != "tokens":
        return settings.text, settings.seed
    if settings.sampling == "paper":
        return settings.text, settings.sampling
    return settings.text, settings.documents, settings.length, settings.seed


def build(
    names: Sequence[str],
    texts: Mapping[str, str],
    tokenizer: PreTrainedTokenizerBase,
    settings: CorpusConfig,
    n_embeddings: int,
) -> list[Corpus]:
    """Build the corpora of a run.

    Parameters
    ----------
    names : sequence of str
        Names in `CORPORA`.
    texts : mapping of str to str
        The contents of every text in `settings.texts`.
    tokenizer : transformers.PreTrainedTokenizerBase
    settings : CorpusConfig
    n_embeddings : int
        Number of rows of the model's embedding. Random tokens are drawn only from the ids below
        this number.

    Returns
    -------
    list of Corpus
        The corpora in `expand`.

    Raises
    ------
    CheckpointError
        If the tokenizer does not belong to the model.
    ShapesweepError
        If a text is empty or too short.
    """
    if not texts[settings.text]:
        raise ShapesweepError(f"corpus.text: {settings.text} is empty")
    prefix, suffix = special_tokens(tokenizer, texts[settings.text])
    n_special = len(prefix) + len(suffix)
    ordinary = _documents.ordinary_tokens(tokenizer, n_embeddings)
    cuts: dict[str, Callable[..., list[Documents]]] = {
        "tokens": _documents.cut,
        "last": partial(_documents.cut_short, pooling="last"),
        "passages": partial(_documents.cut_short, pooling="passages"),
    }

    @cache
    def materials(variant: str, pooling: str) -> list[Material]:
        """Return the material of every sample."""
        mine = settings.variant(variant)
        samples = cuts[pooling](texts[mine.text], tokenizer, mine, n_special)
        highest = max(int(body.max(initial=0)) for bodies in samples for body in bodies)
        if highest >= n_embeddings:
            raise CheckpointError(
                f"the tokenizer returns ids up to {highest}, but the model has only {n_embeddings} "
                "embeddings: the tokenizer does not belong to the model"
            )
        seed = _documents.PAPER_SEED if mine.sampling == "paper" else mine.seed
        # Every sample has its own random numbers.
        return [
            Material(bodies, ordinary, seed + (number << 32))
            for number, bodies in enumerate(samples)
        ]

    corpora = []
    for name, mine in expand(names, settings):
        kind = CORPORA[name.kind]
        bodies = kind.make(materials(name.variant, kind.pooling)[name.sample - 1])
        whole = tuple(np.concatenate([prefix, body, suffix]) for body in bodies)
        ends = len(prefix), len(suffix)
        corpora.append(Corpus(str(name), whole, *ends, kind.pooling, mine.seed))
    return corpora
