"""Run checkpoints on every corpus, and extract the hidden states of every layer and the losses.

A checkpoint's weights are read only once, even for several corpora. Only one batch of documents is
in memory at a time.
"""

import contextlib
import itertools
import json
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from shapesweep import __version__, progress
from shapesweep.activations import losses
from shapesweep.activations.loader import LoadedCheckpoint, Loader
from shapesweep.activations.losses import Sums
from shapesweep.checkpoint import devices, weight_sample
from shapesweep.checkpoint.forward import start_token, states_of
from shapesweep.checkpoint.hidden_states import Anatomy, find_stacks
from shapesweep.checkpoint.load import notes
from shapesweep.config.measurement import Measurement
from shapesweep.corpora import Corpus
from shapesweep.errors import CheckpointError, as_checkpoint_errors
from shapesweep.estimators import jackknife
from shapesweep.storage import atomic, failures, schemas, tables
from shapesweep.storage.manifests import Checkpoint
from shapesweep.storage.shards import (
    FORMAT_VERSION,
    ORIGINS,
    CorpusWriter,
    file_name,
    number_contexts,
    token_columns,
)


@dataclass(frozen=True)
class Source:
    """A checkpoint to extract.

    Attributes
    ----------
    checkpoint : Checkpoint
        The checkpoint's row of the manifest.
    folder : Path
        Folder of the checkpoint's files.
    out : Path
        Folder that is written atomically. It contains `<corpus>/layer-<k>.parquet` (for
        encoder-decoders, `<corpus>/<stack>-layer-<k>.parquet`), `losses.parquet`,
        `samples.parquet` and `origins.json`, or only `failed.json`.
    tokenizer : Path
        Folder of the checkpoint's tokenizer.
    measured : dict
        For each corpus, the origin of the numbers that earlier jobs measured. A corpus is skipped
        if its current inputs equal the inputs in this origin.
    fingerprint : str
        Fingerprint of the checkpoint's contents (`fingerprints.contents`), for `origins.json`.
    """

    checkpoint: Checkpoint
    folder: Path
    out: Path
    tokenizer: Path
    measured: dict[str, Any] = field(default_factory=dict)
    fingerprint: str = ""


def extract(sources: Sequence[Source], settings: Measurement) -> Iterator[tuple[Source, str]]:
    """Write the shards and losses of checkpoints; record why a checkpoint is unusable.

    The next checkpoint is read while the current checkpoint is run or its shards are measured. A
    device is held only while a model runs.

    Parameters
    ----------
    sources : sequence of Source
    settings : Measurement

    Yields
    ------
    source : Source
    line : str
        Message of one line.
    """
    loader = Loader(settings, settings.corpora)
    for number, (source, ahead) in enumerate(_read_ahead(sources, loader)):
        part = (number, len(sources))
        wait([ahead[0]])
        try:
            with (
                atomic.folder(source.out) as out,
                devices.hold(settings.device) as device,
                as_checkpoint_errors(),
            ):
                # Only this call refers to the weights, so they are freed before the device is
                # released.
                line = _extract(source, ahead.popleft().result(), settings, device, out, part)
        except CheckpointError as error:
            with atomic.folder(source.out) as out:
                failures.record(out, source.checkpoint, error)
            line = f"skipped: {error}"
        yield source, f"{source.checkpoint.name}: {line}"


def _read_ahead(
    sources: Sequence[Source], loader: Loader
) -> Iterator[tuple[Source, deque[Future[LoadedCheckpoint]]]]:
    """Yield each source with a queue, whose first item is the `Future` of the checkpoint.

    While the caller uses a checkpoint, a thread loads the next checkpoint.
    """
    with ThreadPoolExecutor(1) as reader:
        ahead: deque[Future[LoadedCheckpoint]] = deque()
        for source, following in itertools.pairwise([None, *sources, None]):
            if following:
                folders = following.folder, following.tokenizer
                ahead.append(reader.submit(loader.load, following.checkpoint, *folders))
            if source:
                yield source, ahead


def _extract(
    source: Source,
    opened: LoadedCheckpoint,
    settings: Measurement,
    device: str,
    out: Path,
    part: progress.Part,
) -> str:
    """Extract a checkpoint, and return a line for the log."""
    import torch

    model = opened.model.to(device)
    origins = {each.name: _origin(source.checkpoint, each, device) for each in opened.corpora}
    known = {name: origin["from"] for name, origin in source.measured.items()}
    new = [each for each in opened.corpora if known.get(each.name) != origins[each.name]["from"]]
    names = ("suite", "run", "revision", "step")
    identity = {name: getattr(source.checkpoint, name) for name in names}
    found: list[dict[str, Any]] = []
    n_documents = sum(len(each.documents) for each in new)
    stacks: list[Anatomy] = []
    shown = progress.bar(n_documents, "extracting", "documents", part)
    with torch.inference_mode(), shown:
        for each in new:
            stacks = stacks or find_stacks(model, each.documents[0])
            about = {**origins[each.name]["from"], "versions": origins[each.name]["by"]}
            about["text_sha256"] = settings.sha256_of(each.name)
            (out / each.name).mkdir()
            with contextlib.ExitStack() as writers:
                inputs = [
                    _Input(out / each.name, anatomy, each, model, about, writers)
                    for anatomy in stacks
                ]
                totals = _run(opened, inputs, each, settings, shown)
            if totals is not None:
                value, without = losses.mean(totals, settings.geometry.groups)
                measured = {"value": value, "stderr": float(jackknife.stderr(without))}
                found.append({**identity, "source": "eval", "corpus": each.name, **measured})
    tables.write(found, schemas.OF_CHECKPOINT["losses"], out / "losses.parquet")
    vocabulary = getattr(model.config, "vocab_size", None)
    samples = [
        {"revision": source.checkpoint.revision, "tensor_class": kind, "value": value}
        for kind, values in weight_sample.sample(model).items()
        for value in values
    ]
    tables.write(samples, schemas.SAMPLES, out / "samples.parquet", {"vocabulary": vocabulary})
    text = json.dumps({"fingerprint": source.fingerprint, "corpora": origins})
    (out / ORIGINS).write_text(text, encoding="utf-8")
    nothing = "nothing, because all corpora have already been measured"
    extracted = f"extracted {', '.join(each.name for each in new) or nothing}"
    return "; ".join([extracted, *notes(model)])


class _Input:
    """What a stack of a model reads for a corpus, and the writer of its shards.

    Parameters
    ----------
    folder : Path
        Folder of the shards.
    anatomy : Anatomy
        Anatomy of the stack.
    corpus : Corpus
    model : transformers.PreTrainedModel
    about : dict
        Metadata that all shards of the corpus share.
    writers : contextlib.ExitStack
        Context at whose end the shards are complete.
    """

    def __init__(
        self,
        folder: Path,
        anatomy: Anatomy,
        corpus: Corpus,
        model: Any,
        about: dict[str, Any],
        writers: contextlib.ExitStack,
    ) -> None:
        self.anatomy, is_decoder = anatomy, anatomy.stack == "decoder"
        self.corpus = corpus.shifted(start_token(model)) if is_decoder else corpus
        # All states of a decoder also depend on the whole document.
        own_context = anatomy.causal and not is_decoder
        self.contexts = number_contexts(self.corpus.documents, own_context)
        lengths = [len(document) for document in corpus.documents]
        metadata = {
            **about,
            "architecture": type(model).__name__,
            "stack": anatomy.stack or None,
            # The decoder reads the document after this token, without the last token.
            "start": start_token(model) if is_decoder else None,
            "n_start": int(is_decoder),
            "n_layers": anatomy.n_layers,
            "causal": anatomy.causal,
            "document_length": round(sum(lengths) / len(lengths)),
            "n_documents": len(lengths),
        }
        shards = []
        for layer, kind in anatomy.names():
            is_last = (layer, kind) == (anatomy.n_layers, "block")
            name = file_name(anatomy.stack, layer, is_last and anatomy.last == "final_norm")
            shards.append((folder / name, {**metadata, "layer": layer, "layer_kind": kind}))
        self.writer = writers.enter_context(CorpusWriter(shards))

    def append(self, documents: list[int], output: Any, ends: dict[str, Any]) -> None:
        """Write the states of documents; `ends` is what `Anatomy.ends` recorded.

        Raises
        ------
        CheckpointError
            If a state is not finite.
        """
        corpus, anatomy = self.corpus, self.anatomy
        states = anatomy.kept(states_of(output, anatomy.stack), ends)
        positions = [corpus.measured(n) for n in documents]
        bodies, contexts = (
            [every[n] for n in documents] for every in (corpus.documents, self.contexts)
        )
        values = [_values(state, positions) for state in states]
        for (layer, kind), part in zip(anatomy.names(), values, strict=True):
            if not np.isfinite(part).all():
                where = f"{anatomy.stack} layer" if anatomy.stack else "layer"
                raise CheckpointError(
                    f"{where} {layer} ({kind}) has infinite or NaN values on the corpus "
                    f"{corpus.name}"
                )
        self.writer.append(token_columns(bodies, contexts, documents, positions), values)


def _run(
    opened: LoadedCheckpoint,
    inputs: Sequence[_Input],
    corpus: Corpus,
    settings: Measurement,
    shown: Any,
) -> Sums | None:
    """Write the shards of a corpus, and return its documents' losses if the model has a loss."""
    model, loss = opened.model, None
    if len(inputs) == 1:
        loss = losses.loss_of(model, inputs[0].anatomy, corpus, opened.tokenizer.mask_token_id)
    with contextlib.ExitStack() as stack:
        ends = [stack.enter_context(each.anatomy.ends()) for each in inputs]

        def write(documents: list[int], output: Any) -> None:
            for each, recorded in zip(inputs, ends, strict=True):
                each.append(documents, output, recorded)
            shown.update(len(documents))

        # Hidden states are extracted from unmasked documents, so losses of masked tokens need a
        # second pass.
        is_masked = isinstance(loss, losses.Masked)
        sums = losses.run(
            model, corpus, settings.batch_tokens, None if is_masked else loss, watch=write
        )
    return losses.run(model, corpus, settings.batch_tokens, loss) if is_masked else sums


def _values(state: Any, positions: list[NDArray[np.int64]]) -> NDArray[np.float32]:
    """Return the states at the positions of every document, on the CPU.

    The shape of the result is (n_tokens, n_features).
    """
    import torch

    length, flat = state.shape[1], state.reshape(-1, state.shape[-1])
    if sum(map(len, positions)) < len(flat):
        rows = np.concatenate([number * length + kept for number, kept in enumerate(positions)])
        flat = flat.index_select(0, torch.from_numpy(rows).to(state.device))
    return flat.float().cpu().numpy()


def _origin(of: Checkpoint, corpus: Corpus, device: str) -> dict[str, Any]:
    """Return the origin of shards: inputs under `from`, device and library versions under `by`.

    Two shards count as equal if their inputs are equal.
    """
    import torch
    import transformers

    identity = ("suite", "run", "seed", "revision", "step", "tokens", "commit")
    made_from = {
        **{key: getattr(of, key) for key in identity},
        "corpus": corpus.name,
        "corpus_digest": corpus.digest,
        "corpus_seed": corpus.seed,
        "n_prefix": corpus.n_prefix,
        "n_suffix": corpus.n_suffix,
        "pooling": corpus.pooling,
        "dtype": "float32",
        "format_version": FORMAT_VERSION,
    }
    versions = {"torch": torch.__version__, "transformers": transformers.__version__}
    device = device.partition(":")[0]
    return {"from": made_from, "by": {"device": device, "shapesweep": __version__, **versions}}
