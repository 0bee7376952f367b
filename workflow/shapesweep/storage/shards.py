"""Read and write shards: files with the hidden states of a checkpoint at one layer on one corpus.

Shards are Parquet files, which are written batch by batch and read as a whole. The metadata of a
shard describe its inputs. `origins.json` describes the inputs for all corpora of the checkpoint.
"""

import json
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from shapesweep.errors import ShapesweepError
from shapesweep.estimators.moments import norms
from shapesweep.storage import checksummed
from shapesweep.storage.selections import (
    BOUNDS,
    LENGTHS,
    MASSIVE,
    SELECTIONS,
    WITHOUT,
    are_massive,
)
from shapesweep.storage.tables import first_line

#: Increase this version when the content of shards changes, so that everything is extracted again.
FORMAT_VERSION = 3
#: Columns of a shard, besides the states.
COLUMNS = ("document", "position", "token", "context")
#: Name of the file that contains the origin of every corpus and the `fingerprint` of the
#: checkpoint. It is in the folder of shards.
ORIGINS = "origins.json"


@dataclass(frozen=True)
class Shard:
    """A shard in memory.

    Attributes
    ----------
    metadata : dict
    document, position, token : ndarray of int32, shape (n_tokens,)
    context : ndarray of int32, shape (n_tokens,)
        Number of every token's context (`number_contexts`).
    activation : ndarray of float32, shape (n_tokens, n_features)
    """

    metadata: dict[str, Any]
    document: NDArray[np.int32]
    position: NDArray[np.int32]
    token: NDArray[np.int32]
    context: NDArray[np.int32]
    activation: NDArray[np.float32]

    @cached_property
    def norms(self) -> NDArray[np.float64]:
        """Norms of the uncentred states, shape (n_tokens,)."""
        return norms(self.activation)

    def massive(self, bound: float = MASSIVE) -> NDArray[np.bool_]:
        """Mark the tokens whose norm exceeds `bound` times the median, shape (n_tokens,)."""
        return are_massive(self.norms, bound)

    @property
    def selections(self) -> list[str]:
        """The selections that can be applied to this shard, apart from subsamples.

        A shard of passages has only subsamples, because its tokens are not all tokens of a text.
        Documents are shortened to a length only if all documents are longer than this length.
        """
        shortest = int(np.bincount(self.document).min()) if len(self.document) else 0
        if self.metadata["pooling"] == "passages":
            return []
        can_be_cut = self.metadata["causal"] and self.metadata["pooling"] == "tokens"
        limit = shortest if can_be_cut else 0
        # A document of which only the last token is kept has no first token.
        absent = WITHOUT if self.metadata["pooling"] == "last" else ()
        names = (name for name in SELECTIONS if name not in absent)
        return [name for name in names if LENGTHS.get(name, -1) < limit]

    def selected(self, selection: str) -> NDArray[np.bool_]:
        """Return the mask of the tokens that a selection keeps, shape (n_tokens,)."""
        if selection in LENGTHS:
            return self.position < LENGTHS[selection]
        if selection == "no_other_massive":
            return ~(self.selected("no_first") & self.massive())
        if selection == "no_bulk":
            return ~self.selected("no_massive")
        if selection in BOUNDS:
            return self.selected("no_first") & ~self.massive(BOUNDS[selection])
        if selection == "all" or self.metadata["pooling"] != "tokens":
            return np.ones(len(self.token), dtype=bool)
        lengths = np.bincount(self.document)[self.document]
        # The input of a decoder begins with a start token, and lacks the last token.
        n_start = self.metadata.get("n_start", 0)
        first = self.position < max(1, self.metadata["n_prefix"] + n_start)
        n_suffix = max(self.metadata["n_suffix"] - n_start, 0)
        return ~first & (self.position < lengths - n_suffix)


class ShardWriter(checksummed.Writer):
    """Writes one shard, batch by batch.

    Parameters
    ----------
    path : path-like
    n_features : int
        Width of the hidden states.
    metadata : dict
        Values that can be serialised as JSON.
    """

    def __init__(self, path: Path, n_features: int, metadata: dict[str, Any]) -> None:
        # Arrow reads columns 25 % faster if their type excludes nulls.
        self._states = pa.list_(pa.field("element", pa.float32(), nullable=False), n_features)
        kinds = dict.fromkeys(COLUMNS, pa.int32())
        kinds["activation"] = self._states
        schema = pa.schema(
            [pa.field(name, kind, nullable=False) for name, kind in kinds.items()],
            metadata={"shapesweep": json.dumps(metadata)},
        )
        super().__init__(
            path, schema, compression="none", use_dictionary=False, write_statistics=False
        )

    def append(self, tokens: list[pa.Array], values: NDArray[np.float32]) -> None:
        """Add rows: columns from `token_columns`, and states of shape (n_tokens, n_features)."""
        flat = pa.array(np.ascontiguousarray(values).ravel())
        activation = pa.FixedSizeListArray.from_arrays(flat, type=self._states)
        self.write_batch(pa.record_batch([*tokens, activation], schema=self.schema))


class CorpusWriter:
    """Writes the shards of a corpus in a thread, so that the model does not wait for the disk.

    Use the writer in a `with` statement. An error in the thread is raised by the next call of
    `append`, or at the end of the `with` statement.

    Parameters
    ----------
    shards : sequence of (Path, dict)
        For each layer, the path and the metadata of its shard.
    """

    def __init__(self, shards: Sequence[tuple[Path, dict[str, Any]]]) -> None:
        self._shards = shards
        self._writers: list[ShardWriter] = []
        self._thread = ThreadPoolExecutor(1)
        self._written: Future[None] | None = None

    def __enter__(self) -> "CorpusWriter":
        return self

    def __exit__(self, *_failure: object) -> None:
        try:
            self._thread.shutdown()
            if self._written:
                self._written.result()
        finally:
            for writer in self._writers:
                writer.close()

    def append(self, tokens: list[pa.Array], states: Sequence[NDArray[np.float32]]) -> None:
        """Add a batch: the columns from `token_columns`, and the states of every layer.

        At most one batch waits to be written.
        """
        if self._written:
            self._written.result()
        self._written = self._thread.submit(self._append, tokens, states)

    def _append(self, tokens: list[pa.Array], states: Sequence[NDArray[np.float32]]) -> None:
        if not self._writers:
            for (path, metadata), values in zip(self._shards, states, strict=True):
                self._writers.append(ShardWriter(path, values.shape[1], metadata))
        for writer, values in zip(self._writers, states, strict=True):
            writer.append(tokens, values)


def number_contexts(
    documents: Sequence[NDArray[np.int64]], causal: bool
) -> list[NDArray[np.int64]]:
    """Assign a number to each token's context; tokens with equal numbers are repeated points.

    The context of a token contains everything on which the token's state can depend. In a causal
    model, the context is the document up to the token. In all other models, the context is the
    whole document and the position. Repeated points from different batches may differ in the last
    bits, because of rounding.

    Parameters
    ----------
    documents : sequence of ndarray of int64
        Token ids of all documents of a corpus.
    causal : bool
        Whether the model is causal.

    Returns
    -------
    list of ndarray of int64
        The numbers of the contexts of each document's tokens.
    """
    seen: dict[Any, int] = {}
    numbered = []
    for document in documents:
        # Build a tree of tokens, in which the context of a token is the path from the root. If the
        # model is not causal, the path begins with the whole document.
        whole = None if causal else document.tobytes()
        context = seen.setdefault(whole, len(seen))
        contexts = []
        for token in document.tolist():
            context = seen.setdefault((context, token), len(seen))
            contexts.append(context)
        numbered.append(np.array(contexts, dtype=np.int64))
    return numbered


def token_columns(
    documents: list[NDArray[np.int64]],
    contexts: list[NDArray[np.int64]],
    numbers: list[int],
    positions: list[NDArray[np.int64]],
) -> list[pa.Array]:
    """Return the document, position, token and context of every row of a batch.

    Parameters
    ----------
    documents : list of ndarray of int64
        Token ids of each document.
    contexts : list of ndarray of int64
        For each document, the result of `number_contexts`.
    numbers : list of int
        Indices of the documents in their corpus.
    positions : list of ndarray of int64
        For each document, the positions of the tokens that are kept.
    """
    counts = [len(kept) for kept in positions]
    kept = [
        [values[chosen] for values, chosen in zip(each, positions, strict=True)]
        for each in (documents, contexts)
    ]
    columns = [np.repeat(numbers, counts), *map(np.concatenate, (positions, *kept))]
    return [pa.array(column.astype(np.int32)) for column in columns]


def in_order(folder: Path) -> list[Path]:
    """Return the files of a checkpoint's shards, sorted by corpus, stack, and then by depth."""

    def position(path: Path) -> tuple[str, bool, int, bool]:
        stack, _, name = path.stem.rpartition("layer-")
        layer, _, block = name.partition("-")
        # The last block and the final norm have the same layer number.
        return path.parent.name, stack == "decoder-", int(layer), not block

    return sorted(Path(folder).glob("*/*layer-*.parquet"), key=position)


def file_name(stack: str, layer: int, is_before_norm: bool) -> str:
    """Return the name of the file of a shard.

    Parameters
    ----------
    stack : str
        `encoder` or `decoder` for encoder-decoders, otherwise empty.
    layer : int
    is_before_norm : bool
        Whether the layer is the last block, and a final norm with the same number follows.
    """
    start = f"{stack}-" if stack else ""
    return f"{start}layer-{layer}{'-block' if is_before_norm else ''}.parquet"


def read_shard(path: Path) -> Shard:
    """Read a shard from its file.

    Raises
    ------
    ShapesweepError
        If the shard is incomplete or damaged.
    """
    try:
        table = checksummed.read(path)
        metadata = json.loads(table.schema.metadata[b"shapesweep"])
        missing = {"pooling", "causal", "n_prefix", "n_suffix"} - set(metadata)
        if missing:
            raise ValueError(f"its metadata has no {', '.join(sorted(missing))}")
        columns = {name: table[name].combine_chunks().to_numpy() for name in COLUMNS}
        activation = table["activation"].combine_chunks()
        width = activation.type.list_size
        values = activation.flatten().to_numpy().reshape(-1, width)
    except (pa.ArrowException, OSError, KeyError, TypeError, ValueError) as error:
        raise ShapesweepError(f"{path}: not a complete shard ({first_line(error)})") from None
    return Shard(metadata, **columns, activation=values)
