"""Measure a few metrics of a few layers during training, each time in less than a second.

A probe measures a model on the same documents each time. `Record` keeps the readings in a Parquet
file that the workflow reads. `probe_callback` runs a probe in a Trainer.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from shapesweep.checkpoint.forward import to_batch
from shapesweep.checkpoint.hidden_states import Anatomy, find_anatomy
from shapesweep.errors import ShapesweepError, near
from shapesweep.estimators import dimension
from shapesweep.estimators.spectrum import anisotropy
from shapesweep.explosions import indicators
from shapesweep.neighbors import nearest_neighbors, unique_rows
from shapesweep.storage import schemas, tables

#: Number of neighbours that the search finds for each point; `id_mle` uses all of them.
NEIGHBORS = 20
#: Estimators of the ID from distances to neighbours, each with its number of neighbours.
DIMENSIONS: dict[str, tuple[int, Callable[[NDArray[np.float64]], float]]] = {
    "id_twonn": (2, dimension.id_twonn),
    "id_gride": (16, lambda distances: dimension.id_gride(distances, 8, 16)[0]),
    "id_mle": (NEIGHBORS, lambda distances: dimension.id_mle(distances[:, :NEIGHBORS])),
}
#: Signals of single layers, and signals of the whole model.
SIGNALS = (
    "anisotropy",
    *DIMENSIONS,
    "max_norm",
    "kurtosis",
    "spectral_alignment",
    "attention_entropy",
    "parameter_norm",
)


@dataclass(frozen=True)
class Reading:
    """A number that a probe measured. The attributes are columns of `schemas.PROBE`.

    Attributes
    ----------
    metric : str
        Name from `SIGNALS`.
    value : float
        NaN if the metric is not defined, or the model's states are not finite.
    layer : int or None
        Index in `hidden_states`; None for the whole model.
    layer_kind : str or None
    selection : str or None
        `all` for all tokens, or `no_first` for all tokens except the first of each document.
    n_points, k : int or None
        For an ID estimate: number of distinct points, and number of neighbours.
    """

    metric: str
    value: float
    layer: int | None = None
    layer_kind: str | None = None
    selection: str | None = None
    n_points: int | None = None
    k: int | None = None

    @property
    def name(self) -> str:
        """Name of the reading in the log of a training run, such as `shape/id_twonn/4`."""
        return "/".join(["shape", self.metric, *([] if self.layer is None else [str(self.layer)])])


class Probe:
    """Measures a model on fixed documents; calling the probe returns the readings.

    After a measurement, the probe restores the mode of every module and the attention
    implementation of the model. A probe does not use the global random number generators. All
    measurements use the same documents, so that readings change only if the model changes.

    Parameters
    ----------
    documents : array_like of int, shape (n_documents, n_tokens)
        Token ids, including special tokens, without padding. About 32 documents of 64 tokens are
        enough.
    layers : sequence of int, optional
        Indices of `hidden_states`; by default, the layers at a quarter, half and three quarters of
        the depth.
    signals : sequence of str
        Names from `SIGNALS`. For `attention_entropy`, the model runs with eager attention. Blocks
        without attention, as in hybrid models, have no attention entropy.
    n_points : int
        Maximum number of points from which an ID is computed.

    Raises
    ------
    ShapesweepError
        If the type or the shape of `documents` is wrong, or a signal does not exist.

    Examples
    --------
    >>> import numpy as np, transformers
    >>> from shapesweep.training.probe import Probe
    >>> shape = dict(vocab_size=64, hidden_size=16, intermediate_size=32, num_hidden_layers=4)
    >>> config = transformers.LlamaConfig(**shape, num_attention_heads=2)
    >>> model = transformers.LlamaForCausalLM(config)
    >>> documents = np.random.default_rng(0).integers(64, size=(8, 32))
    >>> readings = Probe(documents, signals=["anisotropy"])(model)
    >>> [(reading.metric, reading.layer) for reading in readings]
    [('anisotropy', 1), ('anisotropy', 2), ('anisotropy', 3)]
    """

    def __init__(
        self,
        documents: ArrayLike,
        layers: Sequence[int] | None = None,
        signals: Sequence[str] = SIGNALS,
        n_points: int = 2048,
    ) -> None:
        self.documents = np.asarray(documents)
        if self.documents.ndim != 2 or self.documents.dtype.kind not in "iu":
            raise ShapesweepError(
                "documents: a probe needs token ids, of shape (documents, tokens)"
            )
        if min(self.documents.shape) < 2:
            raise ShapesweepError(
                "documents: a probe needs at least two documents with at least two tokens each"
            )
        for name in signals:
            if name not in SIGNALS:
                raise ShapesweepError(f"signals: there is no signal {name!r}{near(name, SIGNALS)}")
        self.layers = None if layers is None else tuple(layers)
        self.signals = tuple(signals)
        self.n_points = n_points
        self._anatomy: Anatomy | None = None
        self._directions: dict[str, NDArray[np.floating]] = {}

    def __call__(self, model: Any) -> list[Reading]:
        """Measure a model.

        Parameters
        ----------
        model : transformers.PreTrainedModel
            A causal or masked language model, which may be wrapped for several processes.

        Returns
        -------
        list of Reading

        Raises
        ------
        CheckpointError
            If the model's blocks cannot be found.
        ShapesweepError
            If the model does not have a requested layer.
        """
        import torch

        model = getattr(model, "module", model)
        readings: list[Reading] = []
        attentions = "attention_entropy" in self.signals
        with torch.no_grad(), _as_it_was(model, attentions):
            anatomy = self._anatomy = self._anatomy or find_anatomy(model, self.documents[0])
            layers = self._chosen(anatomy)
            inputs: dict[str, Any] = {}
            aligned = layers if "spectral_alignment" in self.signals else ()
            heard = _Attentions()
            with (
                _listening(anatomy, aligned, inputs),
                anatomy.ends() as ends,
                heard.of(anatomy if attentions else None),
            ):
                output = model(
                    input_ids=to_batch(model, list(self.documents.astype(np.int64))),
                    output_hidden_states=True,
                    output_attentions=attentions,
                    use_cache=False,
                )
            states = anatomy.kept(output.hidden_states, ends)
            weights = heard.by_layer(output.attentions, anatomy.n_layers) if attentions else {}
            for layer in layers:
                readings += self._of_layer(states, weights, layer, anatomy, inputs)
            if "parameter_norm" in self.signals:
                norms = torch.stack([p.detach().norm().float() for p in model.parameters()])
                readings.append(Reading("parameter_norm", float(norms.norm())))
        return readings

    def _chosen(self, anatomy: Anatomy) -> Sequence[int]:
        n = anatomy.n_layers
        chosen = self.layers or sorted({max(1, round(n * share)) for share in (0.25, 0.5, 0.75)})
        for layer in chosen:
            if not 0 <= layer <= n:
                raise ShapesweepError(f"layers: the model has layers 0 to {n}, not {layer}")
        return chosen

    def _of_layer(
        self,
        every_state: Sequence[Any],
        attentions: Mapping[int, Any],
        layer: int,
        anatomy: Anatomy,
        inputs: dict[str, Any],
    ) -> list[Reading]:
        # The last block and the final norm have the same layer; the norm is measured.
        index, kind = {k: (n, kind) for n, (k, kind) in enumerate(anatomy.names())}[layer]
        states = every_state[index].float().cpu().numpy()
        every = states.reshape(-1, states.shape[-1])
        later = states[:, 1:].reshape(-1, states.shape[-1])
        sound = bool(np.isfinite(every).all())
        readings: list[Reading] = []

        def add(metric: str, compute: Callable[[], float], selection: str = "all") -> None:
            if metric in self.signals:
                readings.append(Reading(metric, compute(), layer, kind, selection))

        add("anisotropy", lambda: anisotropy(later) if sound else np.nan, "no_first")
        if any(name.startswith("id_") for name in self.signals):
            readings += self._dimensions(later if sound else later[:0], layer, kind)
        add("max_norm", lambda: float(np.linalg.norm(every, axis=1).max()) if sound else np.nan)
        add("kurtosis", lambda: indicators.kurtosis(every) if sound else np.nan)
        if layer:
            if layer in attentions:
                add("attention_entropy", lambda: _entropy(attentions[layer]))
            add("spectral_alignment", lambda: self._alignment(anatomy, layer, inputs))
        return readings

    def _dimensions(self, points: NDArray[np.float32], layer: int, kind: str) -> Iterator[Reading]:
        rows = unique_rows(points) if len(points) else np.zeros(0, np.int64)
        if len(rows) > self.n_points:
            # Draw points in a fixed random order of the tokens, so that every measurement uses
            # nearly the same tokens.
            order = np.random.default_rng(0).permutation(len(points))
            rows = np.sort(order[np.isin(order, rows)][: self.n_points])
        distances = None
        if len(rows) > NEIGHBORS:
            distances, _ = nearest_neighbors(points[rows], NEIGHBORS)
        for name, (k, estimate) in DIMENSIONS.items():
            if name in self.signals:
                value = np.nan if distances is None else estimate(distances)
                yield Reading(name, value, layer, kind, "no_first", len(rows), k)

    def _alignment(self, anatomy: Anatomy, layer: int, inputs: dict[str, Any]) -> float:
        """Return the mean sign imbalance over the matrices of a block; NaN if it has none."""
        import torch

        found = []
        for name, module in _matrices(anatomy, layer).items():
            if name in inputs:
                weight = module.weight.detach().float().cpu().numpy()
                # A Conv1D of transformers stores the transposed matrix.
                weight = weight if isinstance(module, torch.nn.Linear) else weight.T
                known = self._directions.get(name)
                self._directions[name] = indicators.leading_direction(weight, known)
                found.append(indicators.sign_imbalance(inputs[name], self._directions[name]))
        return float(np.mean(found)) if found else float("nan")


class Record:
    """Collects the readings of a training run, and writes them atomically to a Parquet file.

    Parameters
    ----------
    path : path-like
        File of the readings. The workflow reads `probe.parquet` in the folder of a run's
        checkpoints.
    from_step : int
        Step from which a training run is resumed. Readings that an earlier attempt recorded after
        this step are dropped.
    """

    def __init__(self, path: str | Path, from_step: int = 0) -> None:
        self.path = Path(path)
        self._rows = pd.DataFrame(columns=schemas.PROBE.names)
        if from_step and self.path.is_file():
            known = tables.read(self.path, schemas.PROBE)
            self._rows = known[known.step <= from_step]
        self._new: list[dict[str, Any]] = []

    def add(self, step: int, readings: Iterable[Reading]) -> None:
        """Add the readings of a step; `save` writes them."""
        self._new += [{"step": step, **asdict(reading)} for reading in readings]

    def save(self) -> None:
        """Write all readings."""
        if not self._new:
            return
        parts = [part for part in (self._rows, pd.DataFrame(self._new)) if len(part)]
        self._rows, self._new = pd.concat(parts, ignore_index=True), []
        tables.write(self._rows, schemas.PROBE, self.path)


def _matrices(anatomy: Anatomy, layer: int) -> dict[str, Any]:
    """Return the linear maps of the block whose output is the given layer, by name."""
    import torch
    from transformers.pytorch_utils import Conv1D

    kinds = (torch.nn.Linear, Conv1D)
    block = anatomy.blocks[layer - 1]
    # The inputs of a matrix that several blocks share are not those of one block.
    modules = block.module.named_modules() if layer and block.n_calls == 1 else ()
    return {f"{layer}.{n}": m for n, m in modules if isinstance(m, kinds)}


class _Attentions:
    """Finds the block of each matrix of attention weights.

    The `attentions` of a hybrid model contain only the weights of blocks with attention.
    """

    def __init__(self) -> None:
        self._owners: list[tuple[Any, int]] = []

    @contextmanager
    def of(self, anatomy: Anatomy | None) -> Iterator[None]:
        """Record the outputs of a model's blocks until the context ends; None records nothing."""

        def keep(layer: int, _module: Any, _inputs: Any, output: Any) -> None:
            parts = output if isinstance(output, tuple) else (output,)
            self._owners += [(part, layer) for part in parts if getattr(part, "ndim", 0) == 4]

        blocks = anatomy.blocks if anatomy else ()
        with ExitStack() as stack:
            for layer, block in enumerate(blocks, start=1):
                for module in block.module.modules() if block.n_calls == 1 else ():
                    stack.enter_context(module.register_forward_hook(partial(keep, layer)))
            yield

    def by_layer(self, attentions: Sequence[Any], n_layers: int) -> dict[int, Any]:
        """Return the attention weights of every block that has attention, by layer."""
        layers = {id(part): layer for part, layer in self._owners}
        found = {layers[id(each)]: each for each in attentions if id(each) in layers}
        # A model may return copies of the weights.
        return found if found or len(attentions) < n_layers else dict(enumerate(attentions, 1))


def _entropy(weights: Any) -> float:
    return indicators.attention_entropy(weights.float().cpu().numpy())


@contextmanager
def _listening(anatomy: Anatomy, layers: Iterable[int], inputs: dict[str, Any]) -> Iterator[None]:
    """Record the inputs of the linear maps in the given layers' blocks, until the context ends."""

    def keep(name: str, _module: Any, given: tuple[Any, ...]) -> None:
        inputs[name] = given[0].reshape(-1, given[0].shape[-1]).float().cpu().numpy()

    with ExitStack() as stack:
        for layer in layers:
            for name, module in _matrices(anatomy, layer).items():
                stack.enter_context(module.register_forward_pre_hook(partial(keep, name)))
        yield


@contextmanager
def _as_it_was(model: Any, attentions: bool) -> Iterator[None]:
    """Set a model to evaluation mode, and restore the mode of every module afterwards."""
    modes = [(module, module.training) for module in model.modules()]
    way = model.config._attn_implementation
    model.eval()
    if attentions and way != "eager":
        # Fused kernels do not return attention weights.
        model.set_attn_implementation("eager")
    try:
        yield
    finally:
        if model.config._attn_implementation != way:
            model.set_attn_implementation(way)
        for module, training in modes:
            module.training = training
