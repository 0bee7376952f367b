"""The corpora: the token sequences that are shown to every checkpoint of a run, the same ones.

Takes in a text and a tokenizer; hands on documents of token ids. Documents are of
equal length and packed, never padded; only the paper's own sampling is ragged.
"""

import ast
import hashlib
import os
import random
import re
import sysconfig
import warnings
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from pydoc_data.topics import topics

import numpy as np

from shapesweep.errors import CheckpointError, ShapesweepError

#: Characters of text set aside for each token of a document: more than any tokenizer needs.
CHARACTERS_PER_TOKEN = 8
#: The sampling of Razzhigaev et al. 2024, as their published code does it.
PAPER_CHARACTERS, PAPER_DOCUMENTS, PAPER_SEED = 512, 128, 0
#: Vocabulary entries that no text contains: reserved places of BERT, T5, Llama 3, Gemma.
UNUSED = re.compile(
    r"^[\[<]\|?(unused|reserved|extra_id|madeupword|pad)[^\]>]*[\]>]$", re.IGNORECASE
)


@dataclass(frozen=True)
class Corpus:
    """Documents of token ids, special tokens included.

    Attributes
    ----------
    name : str
        text, random or shuffled.
    documents : tuple of ndarray of int64
    n_prefix, n_suffix : int
        Special tokens that the tokenizer puts before and behind every document.
    """

    name: str
    documents: tuple
    n_prefix: int
    n_suffix: int

    @property
    def digest(self):
        """Sha256 over the documents: equal digests, equal corpora."""
        digest = hashlib.sha256()
        for document in self.documents:
            digest.update(len(document).to_bytes(8, "little"))
            digest.update(document.astype("<i8").tobytes())
        return digest.hexdigest()

    @property
    def n_tokens(self):
        return sum(map(len, self.documents))

    def batches(self, n_tokens):
        """Numbers of consecutive documents that go through a model together: equal lengths only."""
        size = max(1, n_tokens // max(map(len, self.documents)))
        if len(set(map(len, self.documents))) > 1:
            size = 1
        numbers = range(len(self.documents))
        return [numbers[i : i + size] for i in range(0, len(numbers), size)]


def build(names, text, tokenizer, settings, n_embeddings):
    """The corpora of a run.

    Parameters
    ----------
    names : sequence of str
        Of text, random, shuffled.
    text : str
    tokenizer : transformers.PreTrainedTokenizerBase
    settings : shapesweep.config.CorpusConfig
    n_embeddings : int
        Rows of the model's embedding: ids beyond are never drawn.

    Returns
    -------
    list of Corpus
    """
    prefix, suffix = special_tokens(tokenizer)
    if settings.sampling == "paper":
        bodies = _paper_documents(text, tokenizer)
        seed = PAPER_SEED
    else:
        length = settings.length - len(prefix) - len(suffix)
        bodies = _window_documents(text, tokenizer, settings, length)
        seed = settings.seed
    if max(int(body.max(initial=0)) for body in bodies) >= n_embeddings:
        raise CheckpointError(
            f"the tokenizer gives ids up to {max(int(b.max()) for b in bodies)}, the model has "
            f"{n_embeddings} embeddings: they do not belong together"
        )
    makers = {
        "text": lambda: bodies,
        "random": lambda: _random(bodies, ordinary_tokens(tokenizer, n_embeddings), seed),
        "shuffled": lambda: _shuffled(bodies, seed),
    }
    return [
        Corpus(
            name,
            tuple(np.concatenate([prefix, body, suffix]) for body in makers[name]()),
            len(prefix),
            len(suffix),
        )
        for name in names
    ]


def special_tokens(tokenizer):
    """Ids that the tokenizer itself puts before and behind a text (BOS; CLS and SEP).

    Returns
    -------
    prefix, suffix : ndarray of int64
    """
    probe = "one two"
    bare = tokenizer(probe, add_special_tokens=False)["input_ids"]
    full = tokenizer(probe)["input_ids"]
    for start in range(len(full) - len(bare) + 1):
        if full[start : start + len(bare)] == bare:
            return (
                np.array(full[:start], dtype=np.int64),
                np.array(full[start + len(bare) :], dtype=np.int64),
            )
    raise CheckpointError("the tokenizer rewrites a text when it adds its special tokens")


def ordinary_tokens(tokenizer, n_embeddings):
    """Ids that text is made of: no special, unused or padded entry of the vocabulary.

    Returns
    -------
    ndarray of int64, ascending
    """
    special = set(tokenizer.all_special_ids)
    special |= {i for i, token in tokenizer.added_tokens_decoder.items() if token.special}
    vocabulary = tokenizer.get_vocab().items()
    ids = {i for token, i in vocabulary if i not in special and not UNUSED.match(token)}
    return np.array(sorted(i for i in ids if i < n_embeddings), dtype=np.int64)


def read_text(name):
    """The text of the corpora: `stdlib` (held out from the embedded suite's training) or a file.

    Raises
    ------
    ShapesweepError
        If the file is absent or not UTF-8.
    """
    path = text_file(name)
    if path is None:
        return stdlib_text("measuring")
    try:
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise ShapesweepError(f"corpus.text: {name} is not UTF-8 ({error.reason})") from None


def text_file(name):
    """The file that a configuration's `corpus.text` names; None for `stdlib`.

    Raises
    ------
    ShapesweepError
        If there is no such file.
    """
    if name == "stdlib":
        return None
    if not Path(name).is_file():
        raise ShapesweepError(f"corpus.text: there is no file {name}")
    return Path(name)


@cache
def stdlib_text(part):
    """English that every Python carries: the standard library's docstrings and pydoc's topics.

    Parameters
    ----------
    part : {'training', 'measuring'}
        Whole source files and topics go to one part or the other, about nine to one.

    Returns
    -------
    str
        Depends on the Python version; its digest is in the metadata of every shard.
    """
    return "\n\n".join(text for _, text in _stdlib_pieces(part == "measuring"))


def _stdlib_pieces(held_out):
    def wanted(name):
        return (hashlib.sha256(name.encode()).digest()[0] % 10 == 0) == held_out

    library = Path(sysconfig.get_path("stdlib"))
    # Left out: what some distributions do not install, and what newer versions have dropped.
    absent = {"site-packages", "dist-packages", "test", "tests", "idlelib", "idle_test"}
    absent |= {"lib2to3", "turtledemo", "ensurepip", "distutils", "pydoc_data", "__pycache__"}
    paths = []
    for folder, folders, files in os.walk(library):
        folders[:] = [name for name in folders if name not in absent]
        paths += [Path(folder, name) for name in files if name.endswith(".py")]
    for path in sorted(paths):
        name = path.relative_to(library).as_posix()
        if not wanted(name):
            continue
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                tree = ast.parse(path.read_bytes())
        except (SyntaxError, ValueError):
            continue
        kinds = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
        nodes = (node for node in ast.walk(tree) if isinstance(node, kinds))
        found = (ast.get_docstring(node) for node in nodes)
        yield from ((name, docstring) for docstring in found if docstring)
    yield from ((name, topics[name]) for name in sorted(topics) if wanted(f"topic {name}"))


def _window_documents(text, tokenizer, settings, length):
    if length < 2:
        raise ShapesweepError("corpus.length leaves no room beside the tokenizer's special tokens")
    # Starts depend on the text alone (not on what a tokenizer makes of it or adds to it), so that
    # runs with different tokenizers see the same passages.
    size = CHARACTERS_PER_TOKEN * settings.length
    starts = np.random.default_rng(settings.seed).permutation(len(text) // size) * size
    bodies = []
    for start in starts:
        passage = text[start : start + size]
        if start:
            passage = passage[passage.find(" ") + 1 :]
        ids = tokenizer(passage, add_special_tokens=False, verbose=False)["input_ids"]
        if len(ids) >= length:
            bodies.append(np.array(ids[:length], dtype=np.int64))
        if len(bodies) == settings.documents:
            return bodies
    raise ShapesweepError(
        f"corpus: the text holds {len(bodies)} documents of {settings.length} tokens, "
        f"{settings.documents} are asked for: give a longer text, or lower corpus.documents or "
        "corpus.length"
    )


def _paper_documents(text, tokenizer):
    chunks = list(range(len(text) // PAPER_CHARACTERS))
    if not chunks:
        raise ShapesweepError(f"corpus: the text is shorter than {PAPER_CHARACTERS} characters")
    # The standard library's generator, seeded as the authors did: the same chunks to the letter.
    drawn = random.Random(PAPER_SEED).sample(chunks, min(PAPER_DOCUMENTS, len(chunks)))
    starts = [chunk * PAPER_CHARACTERS for chunk in drawn]
    passages = [text[start : start + PAPER_CHARACTERS] for start in starts]
    return [
        np.array(tokenizer(p, add_special_tokens=False, verbose=False)["input_ids"], dtype=np.int64)
        for p in passages
    ]


def _random(bodies, ordinary, seed):
    rng = np.random.default_rng([seed, 1])
    return [ordinary[rng.integers(len(ordinary), size=len(body))] for body in bodies]


def _shuffled(bodies, seed):
    tokens = np.random.default_rng([seed, 2]).permutation(np.concatenate(bodies))
    return np.split(tokens, np.cumsum([len(body) for body in bodies])[:-1])
