"""The activations: every layer's hidden states of every corpus, from one read of the weights.

Takes in a checkpoint and the corpora; hands on one Parquet shard a (corpus, layer)
and the model's loss on each corpus. One batch of documents is in memory at a time.
"""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from shapesweep import (
    __version__,
    checkpoint,
    corpora,
    devices,
    failures,
    folders,
    losses,
    progress,
    tables,
)
from shapesweep.anatomy import Anatomy, find_anatomy, forward, to_batch
from shapesweep.config import Config
from shapesweep.corpora import Corpus
from shapesweep.errors import CheckpointError
from shapesweep.estimators import jackknife
from shapesweep.losses import Sums
from shapesweep.published import HubSuite
from shapesweep.shards import FORMAT_VERSION, ORIGINS, ShardWriter, token_columns
from shapesweep.text import read_text

Row = dict[str, Any]


def extract(
    row: Row,
    folder: Path,
    settings: Config,
    out: Path,
    measured: dict[str, Any] | None = None,
    tokenizer: Path | None = None,
) -> str:
    """Write the shards and losses of one checkpoint; an unusable one is recorded by its reason.

    Parameters
    ----------
    row : dict
        Of the manifest.
    folder : path-like
        The checkpoint.
    settings : shapesweep.config.Config
    out : path-like
        A folder, made whole or not at all: `<corpus>/layer-<k>.parquet`, `losses.parquet`,
        `sample.parquet` and `origins.json`, or `failed.json` alone.
    measured : dict, optional
        By corpus, the origin of what is measured already: such a corpus, from the same
        origin, gets no shards.
    tokenizer : path-like, optional
        Its folder, if it does not lie with the checkpoint.

    Returns
    -------
    str
        What was done, in one line.
    """
    name = f"{row['suite']}/{row['run']}/{row['revision']}"
    try:
        with folders.whole(out) as partial:
            refuse(row, folder, tokenizer or folder)
            known = measured or {}
            extracted = _extract(row, folder, settings, partial, known, tokenizer or folder)
        return f"{name}: extracted {', '.join(extracted) or 'nothing: all is measured already'}"
    except CheckpointError as error:
        with folders.whole(out) as partial:
            failures.record(partial, row, error)
        return f"{name}: skipped: {error}"


def refuse(row: Row, *folders: Path) -> None:
    """Raise what is known against a checkpoint before it is loaded."""
    if not row["selected"]:
        raise CheckpointError(", ".join(row["status"]))
    for folder in folders:
        failures.raise_recorded(folder)


def _extract(
    row: Row,
    folder: Path,
    settings: Config,
    out: Path,
    measured: dict[str, Any],
    tokenizer_folder: Path,
) -> list[str]:
    """Names of the corpora that were extracted."""
    import torch

    with devices.hold(settings.device) as device:
        model, tokenizer, every = opened(
            row, folder, settings, device, tokenizer_folder, settings.corpora
        )
        origins = {one.name: _origin(row, one, settings, device) for one in every}
        known = {name: origin["from"] for name, origin in measured.items()}
        new = [one for one in every if known.get(one.name) != origins[one.name]["from"]]
        found = read_log(folder, row)
        n_documents = sum(len(one.documents) for one in new)
        with torch.inference_mode(), progress.bar(n_documents, "extracting", "documents") as shown:
            found += _run(model, tokenizer, row, new, origins, settings, out, shown)
    tables.write(found, tables.LOSSES, out / "losses.parquet")
    vocabulary = getattr(model.config, "vocab_size", None)
    sample = [{"value": value} for value in checkpoint.sample(model)]
    tables.write(sample, tables.SAMPLE, out / "sample.parquet", {"vocabulary": vocabulary})
    (out / ORIGINS).write_text(json.dumps(origins), encoding="utf-8")
    return [one.name for one in new]


def opened(
    row: Row,
    folder: Path,
    settings: Config,
    device: str,
    tokenizer_folder: Path,
    names: Sequence[str],
) -> tuple[Any, Any, list[Corpus]]:
    """A checkpoint as it is run: its model, its tokenizer and corpora.

    Parameters
    ----------
    row : dict
        Of the manifest.
    folder, tokenizer_folder : path-like
    settings : shapesweep.config.Config
    device : str
    names : sequence of str
        Of the corpora.

    Raises
    ------
    CheckpointError
        If it cannot be run on them.
    """
    import torch

    suite = settings.suites.get(row["suite"])
    loading: dict[str, Any] = {}
    if isinstance(suite, HubSuite):
        loading["ignored_weights"] = suite.ignored_weights
        loading["remote_code"] = suite.remote_code and row["suite"] in settings.hub.remote_code
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = False
    tokenizer = checkpoint.load_tokenizer(tokenizer_folder)
    model = checkpoint.load(folder, device, **loading)
    n_embeddings = getattr(model.get_input_embeddings(), "num_embeddings", None)
    if n_embeddings is None:
        raise CheckpointError(f"{type(model).__name__} does not read tokens")
    text = read_text(settings.corpus.text)
    every = corpora.build(names, text, tokenizer, settings.corpus, n_embeddings)
    _fits(model.config, every)
    return model, tokenizer, every


def _run(
    model: Any,
    tokenizer: Any,
    row: Row,
    new: list[Corpus],
    origins: dict[str, Any],
    settings: Config,
    out: Path,
    shown: Any,
) -> list[Row]:
    """Write the shards of new corpora; their losses."""
    found: list[Row] = []
    if not new:
        return found
    anatomy = find_anatomy(model, new[0].documents[0])
    for one in new:
        metadata = _metadata(origins[one.name], one, model, anatomy)
        totals = _shards(model, anatomy, one, settings, metadata, out / one.name, shown)
        if checkpoint.family(type(model).__name__) == "encoder":
            totals = _masked_losses(model, one, tokenizer, settings)
        if totals is not None:
            found.append(_loss_row(row, one, totals, settings.geometry.groups))
    return found


def shard_name(layer: int, layer_kind: str, anatomy: Anatomy) -> str:
    """File name of a layer's shard; the last block before a final norm shares its number."""
    before_norm = anatomy.has_final_norm and (layer, layer_kind) == (anatomy.n_layers, "block")
    return f"layer-{layer}{'-block' if before_norm else ''}.parquet"


def read_log(folder: str | Path, row: Row) -> list[Row]:
    """The training loss that a Trainer has logged up to this checkpoint.

    Returns
    -------
    list of dict
        Rows of `tables.LOSSES`; empty without a `trainer_state.json`.
    """
    path = Path(folder) / "trainer_state.json"
    if not path.is_file():
        return []
    try:
        history = json.loads(path.read_bytes())["log_history"]
        return [
            # What is no number, or one for no table, is an error here and not where it is written.
            _losses(row, "log", None, float(entry["loss"]), None)
            | {"step": int(np.int64(int(entry["step"])))}
            for entry in history
            if "loss" in entry
        ]
    except (ValueError, KeyError, TypeError, OverflowError, RecursionError):
        raise CheckpointError("trainer_state.json is damaged") from None


def _shards(
    model: Any,
    anatomy: Anatomy,
    one: Corpus,
    settings: Config,
    metadata: Row,
    out: Path,
    shown: Any,
) -> Sums | None:
    """Write the shards of one corpus; of a causal model, its loss on every document too."""
    import torch

    out.mkdir()
    names, captured = anatomy.names(), []
    writers: list[ShardWriter] = []
    hook = anatomy.blocks[-1].register_forward_hook(
        lambda _m, _i, output: captured.append(output[0] if isinstance(output, tuple) else output)
    )
    sums = []
    try:
        for numbers in one.batches(settings.batch_tokens):
            captured.clear()
            batch = to_batch(model, [one.documents[n] for n in numbers])
            output = forward(model, batch)
            states = list(output.hidden_states)
            if anatomy.has_final_norm:
                states.insert(anatomy.n_layers, captured[-1])
            if not writers:
                writers = [
                    ShardWriter(
                        out / shard_name(layer, kind, anatomy),
                        state.shape[-1],
                        {**metadata, "layer": layer, "layer_kind": kind},
                    )
                    for (layer, kind), state in zip(names, states, strict=True)
                ]
            places = one.measured(batch.shape[1])
            tokens = token_columns([one.documents[n] for n in numbers], numbers, places)
            where = torch.from_numpy(places).to(batch.device)
            for (layer, kind), writer, state in zip(names, writers, states, strict=True):
                kept = state.index_select(1, where)
                values = kept.reshape(-1, kept.shape[-1]).float().cpu()
                if not torch.isfinite(values).all():
                    raise CheckpointError(
                        f"layer {layer} ({kind}) is not finite on the corpus {one.name}"
                    )
                writer.append(tokens, values.numpy())
            if anatomy.causal and "logits" in output:
                sums.append(losses.next_token(output.logits, batch))
            shown.update(len(numbers))
    finally:
        hook.remove()
        for writer in writers:
            writer.close()
    return np.concatenate(sums, axis=1) if sums else None


def _masked_losses(model: Any, one: Corpus, tokenizer: Any, settings: Config) -> Sums | None:
    """The same for masked tokens: one extra pass under a mask that is fixed per corpus."""
    import torch

    if tokenizer.mask_token_id is None:
        return None
    masks, sums = losses.masks(one, settings.corpus.seed), []
    for numbers in one.batches(settings.batch_tokens):
        batch = to_batch(model, [one.documents[n] for n in numbers])
        mask = torch.from_numpy(np.stack([masks[n] for n in numbers])).to(batch.device)
        output = forward(model, batch.masked_fill(mask, tokenizer.mask_token_id))
        sums.append(losses.masked(output, batch, mask))
    return np.concatenate(sums, axis=1)


def _loss_row(row: Row, one: Corpus, totals: Sums, n_groups: int) -> Row:
    value, without = losses.mean(totals, n_groups)
    return _losses(row, "eval", one.name, value, float(jackknife.stderr(without)))


def _losses(row: Row, source: str, name: str | None, value: float, stderr: float | None) -> Row:
    record = {key: row[key] for key in ("suite", "run", "revision", "step")}
    return {**record, "source": source, "corpus": name, "value": value, "stderr": stderr}


def _fits(config: Any, every: list[Corpus]) -> None:
    longest = max(len(document) for one in every for document in one.documents)
    limit = getattr(config, "max_position_embeddings", None)
    if limit and longest > limit:
        raise CheckpointError(
            f"a document has {longest} tokens, the model reads at most {limit} (see corpus.length; "
            "the paper's sampling needs a model that reads 512 characters)"
        )


def _origin(row: Row, one: Corpus, settings: Config, device: str) -> Row:
    """What the shards of a corpus are made from (equal, equal shards), and what by."""
    import torch
    import transformers

    place = ("suite", "run", "seed", "revision", "step", "tokens", "commit")
    made_from = {
        **{key: row[key] for key in place},
        "corpus": one.name,
        "corpus_digest": one.digest,
        "corpus_seed": settings.corpus.seed,
        "n_prefix": one.n_prefix,
        "n_suffix": one.n_suffix,
        "pooling": one.pooling,
        "dtype": "float32",
        "format_version": FORMAT_VERSION,
    }
    made_by = {
        "device": device.partition(":")[0],
        "shapesweep": __version__,
        "torch": torch.__version__,
        "transformers": transformers.__version__,
    }
    return {"from": made_from, "by": made_by}


def _metadata(origin: Row, one: Corpus, model: Any, anatomy: Anatomy) -> Row:
    """A shard's metadata: its origin, and what the model tells of itself when it is run."""
    lengths = [len(document) for document in one.documents]
    return {
        **origin["from"],
        "architecture": type(model).__name__,
        "n_layers": anatomy.n_layers,
        "causal": anatomy.causal,
        "document_length": round(sum(lengths) / len(lengths)),
        "n_documents": len(lengths),
        "versions": origin["by"],
    }
