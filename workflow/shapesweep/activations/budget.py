"""Measure the dimension budget: how many dimensions of a layer do the later layers need?

During the forward pass, the hidden states of a layer are projected onto their leading principal
axes. Bisection finds the smallest number of axes for which the loss increases by at most a given
share. The loss of each half of the documents is computed with axes that are fitted to the other
half. Special tokens and the first token are not projected, because they may be attention sinks,
whose function does not depend on their content.
"""

import contextlib
from collections.abc import Callable
from functools import cache, partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from shapesweep import progress
from shapesweep.activations import losses
from shapesweep.activations.loader import Loader
from shapesweep.checkpoint import devices
from shapesweep.checkpoint.blocks import equal
from shapesweep.checkpoint.forward import forward, states_of, to_batch
from shapesweep.checkpoint.hidden_states import Anatomy, find_anatomy
from shapesweep.config.measurement import Measurement
from shapesweep.corpora import Corpus
from shapesweep.errors import CheckpointError
from shapesweep.estimators import jackknife
from shapesweep.estimators.moments import Moments
from shapesweep.estimators.spectrum import eigh
from shapesweep.storage.manifests import Checkpoint

#: Increase this version if the code computes different budgets, so that budgets are measured again.
VERSION = 2
CORPUS = "text"


def measure(
    of: Checkpoint, folder: Path, settings: Measurement, tokenizer: Path, most: float
) -> list[dict[str, Any]]:
    """Measure the dimension budget of every layer of a checkpoint.

    Parameters
    ----------
    of : Checkpoint
    folder : path-like
        Folder of the checkpoint's files.
    settings : Measurement
    tokenizer : path-like
        Folder of the checkpoint's tokenizer.
    most : float
        Maximum relative increase of the loss.

    Returns
    -------
    list of dict
        Rows of `schemas.BUDGETS`, for the embedding and the output of every block. The output of
        the last block is taken before the final norm.

    Raises
    ------
    CheckpointError
        If the checkpoint cannot be measured.
    """
    import torch

    with devices.hold(settings.device) as device, torch.inference_mode():
        found = Loader(settings, [CORPUS]).load(of, folder, tokenizer)
        model, tokens, (corpus,) = found.model.to(device), found.tokenizer, found.corpora
        anatomy = find_anatomy(model, corpus.documents[0])
        reader = _Reader(model, anatomy, corpus, settings, tokens.mask_token_id)
        names = ("suite", "run", "seed", "revision", "step", "tokens", "stage")
        lengths = [len(document) for document in corpus.documents]
        shared = {
            **{name: getattr(of, name) for name in names},
            "architecture": type(model).__name__,
            "n_layers": anatomy.n_layers,
            "corpus": CORPUS,
            "text_sha256": settings.sha256_of(CORPUS),
            "threshold": most,
            "n_documents": len(lengths),
            "document_length": round(sum(lengths) / len(lengths)),
        }
        layers = range(anatomy.n_layers + 1)
        return [
            {**shared, **_of_layer(reader, layer, settings.geometry.groups, most)}
            for layer in progress.track(layers, "budgeting", "layers")
        ]


def _of_layer(reader: "_Reader", layer: int, n_groups: int, most: float) -> dict[str, Any]:
    full = losses.mean(reader.full, n_groups)
    halves = [reader.axes(layer, fitted) for fitted in (0, 1)]
    width = len(halves[0][0])

    @cache
    def rise(k: int) -> tuple[float, float]:
        totals = reader.projected(layer, halves, k)
        return relative_rise(*losses.mean(totals, n_groups), *full)

    def enough(k: int, sign: int) -> bool:
        return rise(k)[0] + sign * rise(k)[1] <= most

    k, low, high = (smallest(partial(enough, sign=sign), width) for sign in (0, -1, 1))
    found = rise(k)[0]
    flags = [] if np.isfinite(found) else ["undefined"]
    # If the axes are fitted to fewer tokens than dimensions, the last axes are arbitrary.
    flags += ["undersampled"] if reader.n_fitted < 2 * width else []
    return {
        "layer": layer,
        "layer_kind": "block" if layer else "embedding",
        "n_features": width,
        "k": k,
        # If the loss is not monotone in k, bisection may find a k below `low` or above `high`.
        "k_low": min(k, low),
        "k_high": max(k, high),
        "loss": full[0],
        "rise": found,
        "flag": ",".join(flags),
    }


class _Reader:
    """Computes losses of a model on documents, with or without a projection of one layer."""

    def __init__(
        self,
        model: Any,
        anatomy: Anatomy,
        corpus: Corpus,
        settings: Measurement,
        mask_token: int | None,
    ) -> None:
        self._model, self._anatomy, self._one = model, anatomy, corpus
        self._batch_tokens = settings.batch_tokens
        _check_embedding(model, anatomy, corpus)
        self._loss = losses.loss_of(model, anatomy, corpus, mask_token)
        if self._loss is None:
            raise CheckpointError("has no loss: it predicts neither next tokens nor masked tokens")
        n_documents = len(corpus.documents)
        n_groups = min(settings.geometry.groups, n_documents)
        # Each half consists of jackknife groups, so that the halves are the same for every
        # checkpoint.
        self._half = jackknife.assign_groups(np.arange(n_documents), n_groups) % 2
        self.full = self._read(np.arange(n_documents))
        lengths = np.array([len(document) for document in corpus.documents])
        free = lengths - max(1, corpus.n_prefix) - corpus.n_suffix
        #: Number of tokens in the smaller half, to which axes are fitted.
        self.n_fitted = int(min(free[self._half == half].sum() for half in (0, 1)))

    def axes(self, layer: int, half: int) -> tuple[Any, Any]:
        """Fit the mean and the principal axes of a layer to the documents outside `half`."""
        import torch

        kept: list[NDArray[np.float32]] = []

        def keep(states: Any) -> Any:
            kept.append(states[:, self._free(states.shape[1])].flatten(0, 1).float().cpu().numpy())
            return states

        self._read(np.flatnonzero(self._half != half), layer, keep)
        mean, axes = (
            torch.as_tensor(x.copy(), dtype=torch.float32, device=self._model.device)
            for x in principal_axes(np.concatenate(kept))
        )
        return mean, axes

    def projected(self, layer: int, halves: list[tuple[Any, Any]], k: int) -> losses.Sums:
        """Return the losses of every document when a layer is projected onto its k leading axes."""
        totals = np.empty((2, len(self._one.documents)))
        for half, (mean, axes) in enumerate(halves):
            numbers = np.flatnonzero(self._half == half)
            change = partial(self._projected, mean, axes[:, :k])
            totals[:, numbers] = self._read(numbers, layer, change)
        return totals

    def _projected(self, mean: Any, axes: Any, states: Any) -> Any:
        free = self._free(states.shape[1])
        projected = states.clone()
        centred = states[:, free].float() - mean
        projected[:, free] = (mean + centred @ axes @ axes.T).to(states.dtype)
        return projected

    def _free(self, n_tokens: int) -> slice:
        return slice(max(1, self._one.n_prefix), n_tokens - self._one.n_suffix)

    def _read(
        self, numbers: NDArray[np.int64], layer: int = 0, change: Callable[[Any], Any] | None = None
    ) -> losses.Sums:
        """Return the losses of some documents, with the states of a layer changed by `change`."""
        hook = at_layer(self._anatomy, layer, change) if change else contextlib.nullcontext()
        with hook:
            sums = losses.run(
                self._model, self._one, self._batch_tokens, self._loss, numbers.tolist()
            )
        if sums is None:
            raise CheckpointError("has no loss: it has no head that predicts tokens")
        return sums


def _check_embedding(model: Any, anatomy: Anatomy, corpus: Corpus) -> None:
    """Raise an error if the input of the first block is not the embedding.

    The blocks of XLM and Flaubert end with a norm, and only this norm is found as the block.
    """
    import torch

    seen: list[Any] = []
    with torch.inference_mode(), at_layer(anatomy, 0, seen.append):
        output = forward(model, to_batch(model, [corpus.documents[0]]))
    if anatomy.has_embedding and not equal(seen[0], states_of(output, anatomy.stack)[0]):
        raise CheckpointError(
            "the states of its embedding cannot be changed, because no module reads them alone"
        )


def at_layer(
    anatomy: Anatomy, layer: int, change: Callable[[Any], Any]
) -> contextlib.AbstractContextManager[Any]:
    """Change the hidden states of a layer during the forward pass, until the context ends.

    Parameters
    ----------
    anatomy : shapesweep.checkpoint.hidden_states.Anatomy
    layer : int
        0 for the embedding, k for the output of block k.
    change : callable
        Maps states, shape (n_documents, n_tokens, n_features), to new states of the same shape.
    """
    block = anatomy.blocks[max(layer - 1, 0)]
    handle: contextlib.AbstractContextManager[Any] = (
        block.at_output(change) if layer else block.at_input(change)
    )
    return handle


def principal_axes(points: NDArray[np.floating]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Compute the mean and the principal axes of a point cloud.

    Parameters
    ----------
    points : ndarray, shape (n_points, n_features)

    Returns
    -------
    mean : ndarray of float64, shape (n_features,)
    axes : ndarray of float64, shape (n_features, n_features)
        One axis per column, in the order of decreasing variance.
    """
    moments = Moments.of(points)
    _, axes = eigh(moments.scatter)
    return moments.mean, axes[:, ::-1]


def relative_rise(
    value: float, without: NDArray[np.float64], full: float, full_without: NDArray[np.float64]
) -> tuple[float, float]:
    """Compute the relative increase of a loss over the full model's loss, with its uncertainty.

    Parameters
    ----------
    value, full : float
        Loss with a projection, and loss of the full model.
    without, full_without : ndarray of float64, shape (n_groups,)
        Replicates of both losses; each replicate leaves out one group of documents.

    Returns
    -------
    rise : float
    half_width : float
        Half the width of the 95 % interval of the increase.
    """
    replicates = without / full_without - 1
    return value / full - 1, float(jackknife.half_width_of(replicates))


def smallest(is_enough: Callable[[int], bool], most: int) -> int:
    """Find the smallest sufficient k by bisection.

    Parameters
    ----------
    is_enough : callable
        Returns whether a k is sufficient. If `is_enough` is not monotone, bisection finds a
        sufficient k for which k - 1 is not sufficient. A still smaller k may be sufficient.
    most : int
        Largest k, which is assumed to be sufficient.

    Returns
    -------
    int
        Between 0 and `most`.
    """
    if is_enough(0):
        return 0
    low, high = 0, most
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if is_enough(middle) else (middle, high)
    return high
