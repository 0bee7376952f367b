"""Cut a text into documents. All checkpoints of a run are measured on the same documents.

Documents have no padding. All documents have the same length, except in the sampling `paper`.
"""

from __future__ import annotations

import random
import re
from collections.abc import Iterator
from typing import TYPE_CHECKING, Literal

import numpy as np
from numpy.typing import NDArray

from shapesweep.errors import (
    CheckpointError,
    ShapesweepError,
    UnexpectedError,
    described,
    is_failure,
    raise_if_memory,
)

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

    from shapesweep.corpora._config import CorpusConfig

#: Number of characters that are read for each token of a document. With every tokenizer, tokens
#: have fewer characters on average.
CHARACTERS_PER_TOKEN = 8
#: Number of short documents for which a block of text has enough characters.
SHORT_DOCUMENTS_PER_BLOCK = 8
#: Number of passages in which tokens are sought to find the special tokens, and their number of
#: characters.
N_PROBED, PROBED = 20, 400
#: The sampling of Razzhigaev et al. 2024, as in their published code.
PAPER_CHARACTERS, PAPER_DOCUMENTS, PAPER_SEED = 512, 128, 0
#: Regular expression for vocabulary entries that do not occur in texts: reserved entries of BERT,
#: T5, Llama 3 and Gemma.
UNUSED = re.compile(
    r"^[\[<]\|?(unused|reserved|extra_id|madeupword|pad)[^\]>]*[\]>]$", re.IGNORECASE
)


def cut(
    text: str, tokenizer: PreTrainedTokenizerBase, settings: CorpusConfig, n_special: int
) -> list[list[NDArray[np.int64]]]:
    """Cut a text into documents.

    Parameters
    ----------
    text : str
    tokenizer : transformers.PreTrainedTokenizerBase
    settings : CorpusConfig
    n_special : int
        Number of special tokens that will be added to every document.

    Returns
    -------
    list of list of ndarray of int64
        The documents of every sample, without special tokens. Samples have no document in common.

    Raises
    ------
    ShapesweepError
        If the text is too short for the configured number of documents. It is a `CheckpointError`
        if another tokenizer could cut the text into enough documents.
    """
    if settings.sampling == "paper":
        return _paper(text, settings, tokenizer)
    key = f"{settings.key}.length"
    windows = _windows(text, tokenizer, settings.length, n_special, settings.seed, key)
    found = _samples(windows, settings.samples, settings.documents)
    if min(map(len, found)) < settings.documents:
        samples = f"{settings.samples} samples of " if settings.samples > 1 else ""
        raise _too_short(text, settings.samples * settings.documents * settings.length)(
            f"corpus.text: {settings.text} contains {sum(map(len, found))} documents of "
            f"{settings.length} tokens, but {samples}{settings.documents} are needed: use a longer "
            f"text, or lower {settings.key}.documents or {settings.key}.length"
        )
    return found


def cut_short(
    text: str,
    tokenizer: PreTrainedTokenizerBase,
    settings: CorpusConfig,
    n_special: int,
    pooling: Literal["last", "passages"],
) -> list[list[NDArray[np.int64]]]:
    """Cut a text into distinct short documents, of which only a few tokens are measured.

    The number of documents of each sample is limited by the length of the text and by
    `settings.last` or `settings.passages`. Otherwise, the function is like `cut`.
    """
    wanted = settings.last if pooling == "last" else settings.passages
    key = f"corpus.{pooling}.length"
    blocks = SHORT_DOCUMENTS_PER_BLOCK
    windows = _windows(text, tokenizer, wanted.length, n_special, settings.seed, key, blocks)
    found = _samples(windows, settings.samples, wanted.documents, distinct=True)
    size = min(map(len, found))
    if size < 2:
        raise _too_short(text, 2 * settings.samples * wanted.length)(
            f"corpus.text: {settings.text} contains fewer than two documents of {wanted.length} "
            f"tokens for every sample: use a longer text, or lower {key}"
        )
    return [documents[:size] for documents in found]


def _too_short(text: str, n_tokens: int) -> type[ShapesweepError]:
    """Return the class of the error for a text that has too few documents.

    If the text has fewer characters than tokens are needed, it is too short for every checkpoint.
    Otherwise, the number of documents depends on the tokenizer.
    """
    return ShapesweepError if len(text) < n_tokens else CheckpointError


def _samples(
    windows: Iterator[tuple[int, NDArray[np.int64]]],
    samples: int,
    most: int,
    distinct: bool = False,
) -> list[list[NDArray[np.int64]]]:
    """Collect at most `most` documents of each sample.

    Samples have no block of text in common, because documents of a block follow each other.
    """
    found: list[list[NDArray[np.int64]]] = [[] for _ in range(samples)]
    known: set[bytes] = set()
    for block, body in windows:
        mine = found[block % samples]
        if len(mine) < most and not (distinct and body.tobytes() in known):
            known.add(body.tobytes())
            mine.append(body)
        if min(map(len, found)) == most:
            break
    return found


def special_tokens(
    tokenizer: PreTrainedTokenizerBase, text: str
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the ids of the special tokens that a tokenizer adds before and after a text.

    Parameters
    ----------
    tokenizer : transformers.PreTrainedTokenizerBase
    text : str
        Text of the corpora. The special tokens are found with a passage of this text, because a
        vocabulary may lack the words of any other text. For example, a vocabulary of DNA contains
        only four letters.

    Returns
    -------
    prefix, suffix : ndarray of int64

    Raises
    ------
    CheckpointError
        If the tokenizer finds no tokens in the text, or if it changes the tokens of a text when it
        adds special tokens.
    """
    for passage in _passages(text):
        bare = _ids(tokenizer, passage)
        if not len(bare):
            continue
        full = _ids(tokenizer, passage, add_special_tokens=True)
        for start in range(len(full) - len(bare) + 1):
            if np.array_equal(full[start : start + len(bare)], bare):
                return full[:start], full[start + len(bare) :]
        raise CheckpointError(
            "the tokenizer changes the tokens of a text when it adds special tokens"
        )
    raise CheckpointError("its tokenizer finds no tokens in the text: none of its words are known")


def _passages(text: str) -> Iterator[str]:
    """Yield passages from the whole text, which begin and end between words if it has words."""
    for start in np.linspace(0, max(len(text) - PROBED, 0), N_PROBED, dtype=int).tolist():
        passage = text[start : start + PROBED]
        inner = passage.split(None, 1)[-1].rsplit(None, 1)[0] if passage.split() else ""
        yield inner or passage


def ordinary_tokens(tokenizer: PreTrainedTokenizerBase, n_embeddings: int) -> NDArray[np.int64]:
    """Return the ids of tokens that occur in texts, without special, unused or padded entries.

    Returns
    -------
    ndarray of int64, ascending
    """
    special = set(tokenizer.all_special_ids)
    special |= {i for i, token in tokenizer.added_tokens_decoder.items() if token.special}
    vocabulary = tokenizer.get_vocab().items()
    ids = {i for token, i in vocabulary if i not in special and not UNUSED.match(token)}
    return np.array(sorted(i for i in ids if i < n_embeddings), dtype=np.int64)


def _windows(
    text: str,
    tokenizer: PreTrainedTokenizerBase,
    length: int,
    n_special: int,
    seed: int,
    key: str,
    per_block: int = 1,
) -> Iterator[tuple[int, NDArray[np.int64]]]:
    """Yield documents of `length - n_special` tokens from the whole text.

    Each document comes with the number of its block in the random order.

    The text is divided into blocks. The first documents are the beginnings of all blocks, in random
    order. The next documents are the tokens that follow in each block, and so on. A long text
    therefore gives documents that are far apart, and a short text is used completely.

    Parameters
    ----------
    key : str
        Key of the configuration that contains `length`, for the error message.
    per_block : int
        Number of documents for which a block has enough characters.
    """
    size = length - n_special
    if size < 2:
        raise CheckpointError(
            f"corpus: documents of {length} tokens leave no room for text beside the special "
            f"tokens: raise {key}"
        )
    # Blocks do not depend on the tokenizer, so that all runs read the same passages.
    characters = CHARACTERS_PER_TOKEN * length * per_block
    order = np.random.default_rng(seed).permutation(len(text) // characters)
    # The tokens of each block that has further documents.
    left: dict[int, NDArray[np.int64]] = {}
    for number, place in enumerate(order.tolist()):
        start = place * characters
        block = text[start : start + characters]
        if start:
            block = block[block.find(" ") + 1 :]
        ids = _ids_of_words(tokenizer, block)
        if len(ids) >= size:
            yield number, ids[:size]
            left[number] = ids[size:]
    while left:
        left = {number: ids for number, ids in left.items() if len(ids) >= size}
        for number, ids in left.items():
            yield number, ids[:size]
            left[number] = ids[size:]


def _paper(
    text: str, settings: CorpusConfig, tokenizer: PreTrainedTokenizerBase
) -> list[list[NDArray[np.int64]]]:
    left = list(range(len(text) // PAPER_CHARACTERS))
    if not left:
        raise ShapesweepError(
            f"corpus.text: {settings.text} is shorter than {PAPER_CHARACTERS} characters"
        )
    samples = []
    for number in range(settings.samples):
        # With the random generator and the seed of the paper's authors, the first sample contains
        # the same chunks as theirs.
        size = min(PAPER_DOCUMENTS, len(left))
        drawn = random.Random(PAPER_SEED + number).sample(left, size)
        if size < 2:
            raise ShapesweepError(
                f"corpus.text: {settings.text} is too short for {settings.samples} samples of "
                f"{PAPER_DOCUMENTS} chunks: use a longer text, or lower corpus.samples"
            )
        starts = [chunk * PAPER_CHARACTERS for chunk in drawn]
        passages = [text[start : start + PAPER_CHARACTERS] for start in starts]
        samples.append([_ids(tokenizer, passage) for passage in passages])
        left = sorted(set(left) - set(drawn))
    return samples


def _ids_of_words(tokenizer: PreTrainedTokenizerBase, block: str) -> NDArray[np.int64]:
    """Return the token ids of a block of text, whose last word may be incomplete."""
    try:
        return _ids(tokenizer, block)
    except CheckpointError:
        # A vocabulary of whole words does not contain the beginning of a word.
        return _ids(tokenizer, block.rpartition(" ")[0])


def _ids(
    tokenizer: PreTrainedTokenizerBase, text: str, add_special_tokens: bool = False
) -> NDArray[np.int64]:
    try:
        found = tokenizer(text, add_special_tokens=add_special_tokens, verbose=False)["input_ids"]
    except BaseException as error:  # tokenizers raise bare exceptions, and panics of Rust
        if not is_failure(error):
            raise
        raise_if_memory(error)
        reason = f"its tokenizer cannot read the text: {described(error)}"
        raise UnexpectedError(reason) from error
    return np.array(found, dtype=np.int64)
