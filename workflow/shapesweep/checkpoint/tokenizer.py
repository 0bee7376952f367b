"""Load the tokenizer of a checkpoint as its files describe it."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from shapesweep.checkpoint.facts import description
from shapesweep.checkpoint.files import tokenizer_files
from shapesweep.errors import (
    CheckpointError,
    UnexpectedError,
    described,
    is_failure,
    raise_if_memory,
)
from shapesweep.storage.files import pointer_problem

#: A file that describes a tokenizer completely, in the format of the package tokenizers.
COMPLETE = "tokenizer.json"
#: Files of SentencePiece. Their names do not state the format, so some may have another format.
SENTENCEPIECE = (
    *("tokenizer.model", "spiece.model", "spm.model", "sentencepiece.bpe.model"),
    *("sentencepiece.model", "source.spm"),
)
#: Number of passages on which a tokenizer is compared with its SentencePiece file, and their number
#: of characters.
N_COMPARED, COMPARED = 200, 1000
#: Names of the tokens that classes of transformers 4 add before and after a text by default. The
#: classes of transformers 5 do not add them if there is only a SentencePiece file.
AROUND = {
    **dict.fromkeys(("LlamaTokenizer", "GemmaTokenizer"), ("bos_token", None)),
    # transformers 5 loads Llama and its relatives with this class, unless the files name a class.
    "TokenizersBackend": ("bos_token", None),
    **dict.fromkeys(
        ("RemBertTokenizer", "FNetTokenizer", "BarthezTokenizer"), ("cls_token", "sep_token")
    ),
}
#: Fraction of the vocabulary. If more entries have upper case, texts are not lowercased by default.
UPPER = 0.01


def load_tokenizer(folder: str | Path, text: str) -> Any:
    """Load the tokenizer of a checkpoint, from its folder or else from the parent folder.

    If there is a `tokenizer.json`, this file determines the tokens of a text. The class of
    transformers that the other files name only adds the names of special tokens. Without this rule,
    many classes of transformers 5 would replace the pre-tokenizer and the normalizer in the file by
    their own. Without a `tokenizer.json`, a SentencePiece file determines the tokens.

    Parameters
    ----------
    folder : path-like
    text : str
        Text of the corpora, on which the tokenizer is compared with its SentencePiece file.

    Returns
    -------
    transformers.PreTrainedTokenizerBase

    Raises
    ------
    CheckpointError
        If neither folder contains a tokenizer, if the tokenizer cannot be loaded, or if its class
        does not know the tokens of its SentencePiece file.
    """
    import transformers

    transformers.logging.set_verbosity_error()
    files = tokenizer_files(folder)
    if not files:
        raise CheckpointError("has no tokenizer, and its parent folder has none either")
    problem = pointer_problem(files)
    if problem:
        raise CheckpointError(f"its tokenizer cannot be loaded: {problem}")
    source = files[0].parent
    for name in ("tokenizer_config.json", "config.json"):
        code = (description(source, name) or {}).get("auto_map")
        if isinstance(code, dict) and "AutoTokenizer" in code:
            raise CheckpointError(
                "its tokenizer needs remote code, but remote code of tokenizers is never run"
            )
    try:
        if (source / COMPLETE).is_file():
            return _complete(source, Path(folder))
        named = _named(source, Path(folder))
        _check_case(named, source)
        return _by_pieces(named, source, text)
    except CheckpointError:
        raise
    except BaseException as error:
        if not is_failure(error):
            raise
        raise_if_memory(error)
        reason = described(error).replace(f"{source}/", "")
        raise UnexpectedError(f"its tokenizer cannot be loaded: {reason}") from error


def _named(source: Path, folder: Path) -> Any:
    """Load the tokenizer with the class that its files, or else the model's files, name."""
    import transformers

    more = {}
    if not (source / "config.json").is_file() and (folder / "config.json").is_file():
        more["config"] = transformers.AutoConfig.from_pretrained(folder, local_files_only=True)
    return transformers.AutoTokenizer.from_pretrained(
        source, local_files_only=True, trust_remote_code=False, **more
    )


def _check_case(named: Any, source: Path) -> None:
    """Refuse a class that lowercases by default, if the vocabulary has upper case."""
    stated = description(source, "tokenizer_config.json") or {}
    if "do_lower_case" in stated or not getattr(named, "do_lower_case", False):
        return
    special = set(named.all_special_tokens)
    vocabulary = [token for token in named.get_vocab() if token not in special]
    upper = sorted(token for token in vocabulary if token != token.lower())
    # A vocabulary of lower case may contain a few names of unused tokens.
    if len(upper) > UPPER * len(vocabulary):
        raise CheckpointError(
            f"{len(upper):,} entries of its vocabulary have upper-case letters, such as "
            f"{upper[0]!r}, but {type(named).__name__} lowercases texts by default; write "
            "do_lower_case: true or false into tokenizer_config.json"
        )


def _add_defaults(named: Any, source: Path) -> None:
    """Let a tokenizer without `tokenizer.json` add the special tokens of `AROUND`.

    A folder that transformers 5 has saved contains a `tokenizer.json`, so the model was trained
    with the class of an earlier version.
    """
    from tokenizers.processors import TemplateProcessing

    stated = description(source, "tokenizer_config.json") or {}
    around = AROUND.get(type(named).__name__)
    if around is None or "add_bos_token" in stated:
        return
    before, after = (getattr(named, name) if name else None for name in around)
    named.backend_tokenizer.post_processor = TemplateProcessing(
        single=[token for token in (before, "$A", after) if token],
        special_tokens=[
            (token, named.convert_tokens_to_ids(token)) for token in (before, after) if token
        ],
    )


def _complete(source: Path, folder: Path) -> Any:
    """Load the tokenizer from its `tokenizer.json`."""
    import tokenizers
    import transformers

    known = tokenizers.Tokenizer.from_file(str(source / COMPLETE))
    try:
        special = _named(source, folder).special_tokens_map
    except Exception as error:  # a class that transformers lacks or cannot build
        raise_if_memory(error)
        special = {}
    known.no_truncation()
    known.no_padding()
    loaded = transformers.PreTrainedTokenizerFast(tokenizer_object=known)
    for name, token in special.items():
        # Defaults of a class may name tokens that the vocabulary lacks. If the names were arguments
        # of the class, it would cut the text at these tokens, even if the file does not.
        if isinstance(token, str) and known.token_to_id(token) is not None:
            setattr(loaded, name, token)
    return loaded


class PieceTokenizer:
    """A tokenizer that cuts texts with SentencePiece itself.

    The ids and the special tokens are those of a class of transformers. Some of these classes
    ignore the normalization in the SentencePiece file, or assume another kind of file.

    Parameters
    ----------
    named : transformers.PreTrainedTokenizerBase
    processor : sentencepiece.SentencePieceProcessor
    """

    def __init__(self, named: Any, processor: Any) -> None:
        self._named, self._processor = named, processor

    def __call__(self, text: str, add_special_tokens: bool = True, **_: Any) -> dict[str, Any]:
        """Return the ids of the tokens of a text, under the key `input_ids`."""
        ids = self._named.convert_tokens_to_ids(self._processor.encode(text, out_type=str))
        if not add_special_tokens:
            return {"input_ids": ids}
        bare = self._named(text, add_special_tokens=False, verbose=False)["input_ids"]
        full = self._named(text, verbose=False)["input_ids"]
        n_special = len(full) - len(bare)
        start = next(n for n in range(n_special + 1) if full[n : n + len(bare)] == bare)
        return {"input_ids": [*full[:start], *ids, *full[start + len(bare) :]]}

    def __getattr__(self, name: str) -> Any:
        return getattr(self._named, name)

    def __len__(self) -> int:
        return len(self._named)


def _by_pieces(named: Any, source: Path, text: str) -> Any:
    """Return a tokenizer whose pieces of a text are those of the SentencePiece file, if any."""
    import transformers

    path = next((source / name for name in SENTENCEPIECE if (source / name).is_file()), None)
    # `SentencePieceBackend` runs SentencePiece itself.
    if path is None or isinstance(named, transformers.SentencePieceBackend):
        return named
    _add_defaults(named, source)
    import sentencepiece

    try:
        processor = sentencepiece.SentencePieceProcessor(model_file=str(path))
    except RuntimeError:
        return named  # a file of another format, such as that of tiktoken
    if all(_agree(named, processor, passage) for passage in _passages(named, text)):
        return named
    vocabulary = named.get_vocab()
    absent = [
        piece
        for piece in map(processor.id_to_piece, range(processor.get_piece_size()))
        if piece not in vocabulary and not processor.is_control(processor.piece_to_id(piece))
    ]
    if absent:
        raise CheckpointError(
            f"the class {type(named).__name__} of transformers lacks {len(absent):,} tokens of "
            f"{path.name}, such as {absent[0]!r}; name the right tokenizer_class in "
            "tokenizer_config.json, or save a tokenizer.json"
        )
    return PieceTokenizer(named, processor)


def _agree(named: Any, processor: Any, passage: str) -> bool:
    """Return whether a tokenizer and a SentencePiece file cut a passage into the same pieces."""
    ids = named(passage, add_special_tokens=False, verbose=False)["input_ids"]
    theirs = processor.encode(passage, out_type=str)
    # SentencePiece returns the letters of an unknown piece.
    return len(ids) == len(theirs) and all(
        one in (other, named.unk_token)
        for one, other in zip(named.convert_ids_to_tokens(ids), theirs, strict=True)
    )


def _passages(named: Any, text: str) -> Iterator[str]:
    """Yield passages from the whole text."""
    # These classes of transformers also normalize blanks and letters.
    normalizes = [getattr(named, name, False) for name in ("remove_space", "do_lower_case")]
    for start in np.linspace(0, max(len(text) - COMPARED, 0), N_COMPARED, dtype=int).tolist():
        passage = text[start : start + COMPARED].strip()
        if any(normalizes):
            passage = " ".join(passage.split())
        yield passage.lower() if normalizes[1] else passage
