"""Estimated costs of a checkpoint from the size of its model: disk, memory, operations, time.

The estimates are rough: operations are counted, not timed. Snakemake's resources, batches and the
inventory use them.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from shapesweep.checkpoint import facts
from shapesweep.checkpoint.files import model_files
from shapesweep.config.suite import AnySuite, EmbeddedSuite
from shapesweep.config.sweep import Config
from shapesweep.corpora import CORPORA
from shapesweep.manifest.selection import Listed
from shapesweep.storage.files import stats
from shapesweep.storage.selections import LENGTHS

#: Assumed speed of downloads (bytes per second) and of a core (operations per second). Counted
#: operations divided by the times in docs/reference/cost.md give 40 to 90 Gflop/s.
DOWNLOAD_SPEED, CORE_SPEED = 50e6, 50e9
#: Operations of a search for each pair of points besides the product, and of the IDs for each point
#: and replicate, over all selections; from the times in docs/reference/cost.md.
PAIR, POINT = 600, 4.5e5
#: Bytes of a shard besides its numbers, and of a checkpoint besides its shards: schemas and logs.
OVERHEAD = 16_384
#: Megabytes of a process with torch and transformers.
PROCESS_MB = 1000
#: Minimum time limit of a job, in minutes, and the factor over its expected time: another machine
#: may be slower, and the limit only has to end jobs that hang.
LEAST_MINUTES, PATIENCE = 20, 6
#: Time limit of a download in minutes, and attempts of a job that fails.
DOWNLOAD_MINUTES, ATTEMPTS = 720, 3
#: Characters of a chunk of the paper. A tokenizer with this many entries cuts it into about 110
#: tokens in English; at most half of its characters are assumed.
_CHUNK, _SUBWORDS = 512, 1024
_DTYPES = {"float16": 2, "bfloat16": 2, "float32": 4, "float64": 8}


@dataclass(frozen=True)
class Model:
    """The facts about a checkpoint on which its costs depend.

    Attributes
    ----------
    config : mapping
        Its `config.json`, as far as known.
    n_bytes : int
        Size of its files.
    """

    config: Mapping[str, Any]
    n_bytes: int

    @classmethod
    def of(cls, checkpoint: Listed, suite: AnySuite) -> "Model":
        """The facts about a checkpoint before it is read.

        Parameters
        ----------
        checkpoint : Listed
        suite : EmbeddedSuite, LocalSuite or HubSuite
        """
        if checkpoint.repository:
            return cls(checkpoint.config, sum(file.size for file in checkpoint.files))
        if isinstance(suite, EmbeddedSuite):
            config = {"vocab_size": suite.vocabulary, **suite.runs[checkpoint.run].model}
            d, layers = facts.width(config) or 0, facts.n_layers(config) or 0
            return cls(config, 4 * (12 * layers * d**2 + 2 * suite.vocabulary * d))
        n_bytes = sum(size for _, size, _ in stats(model_files(checkpoint.folder)))
        return cls(facts.description(checkpoint.folder) or {}, n_bytes)

    @property
    def width(self) -> int:
        """Features of a hidden state; 0 if unknown."""
        return facts.width(self.config) or 0

    @property
    def n_shards(self) -> int:
        """Shards of a corpus: the embedding, every block, and the last before a final norm."""
        return (facts.n_layers(self.config) or 0) + 2

    @property
    def n_weights(self) -> float:
        """Number of weights, from the bytes of the files."""
        dtype = str(self.config.get("torch_dtype", self.config.get("dtype")))
        return self.n_bytes / _DTYPES.get(dtype, 4)


def n_tokens(model: Model, settings: Config) -> int:
    """Maximum number of tokens that a checkpoint reads, over all corpora."""
    last = settings.corpus.last
    poolings = [CORPORA[name].pooling for name in settings.corpora]
    whole = poolings.count("tokens") * corpus_tokens(model, settings)
    return whole + poolings.count("last") * last.documents * last.length


def corpus_tokens(model: Model, settings: Config) -> int:
    """Maximum number of tokens of a corpus of which all tokens are measured."""
    entries = facts.vocabulary(model.config) or 0
    chunk = _CHUNK // 2 if entries >= _SUBWORDS else _CHUNK
    length = settings.corpus.length if settings.corpus.sampling == "windows" else chunk
    return settings.corpus.documents * length


def footprint(model: Model, settings: Config) -> int:
    """The maximum number of bytes of a checkpoint while it is measured: its files and its shards.

    Shards to keep are results, and are not counted.
    """
    return model.n_bytes + (0 if settings.keep_activations else shard_bytes(model, settings))


def shard_bytes(model: Model, settings: Config) -> int:
    """Bytes of the shards of a checkpoint: float32 states of every layer and corpus."""
    # A state, and three columns of its token.
    shards = n_tokens(model, settings) * model.n_shards * (4 * model.width + 12)
    return shards + OVERHEAD * (1 + len(settings.corpora) * model.n_shards)


def operations(model: Model, settings: Config) -> float:
    """Operations for a checkpoint: forward passes, neighbours, and spectra."""
    forward = 2 * model.n_weights * n_tokens(model, settings)
    d, n = model.width, settings.geometry.n_points
    shards = len(settings.corpora) * model.n_shards
    tokens = n_tokens(model, settings) / len(settings.corpora)
    # For each selection: a covariance, two spectra, the tokens on their axes, a fit to the previous
    # layer and its replicates. One neighbour search for all selections.
    spectra = 17 * tokens * d**2 + (18 + 1.3 * settings.geometry.groups) * d**3
    # Two spectra for each shorter length; together they cost no more than all tokens.
    n_cuts = sum(length < settings.corpus.length for length in LENGTHS.values())
    cuts = n_cuts * 18 * d**3 + 2 * tokens * d**2
    neighbors = n**2 * (2 * d + PAIR) + n * settings.geometry.groups * POINT
    return forward + shards * (3 * spectra + cuts + neighbors)


def budget_operations(model: Model, settings: Config) -> float:
    """Operations for a dimension budget: axes and bisections of every layer."""
    d, layers = model.width or 1, model.n_shards - 1
    tokens = n_tokens(model, settings.model_copy(update={"corpora": ["text"]}))
    # The three bisections share most passes; twice the cost of one was measured.
    passes = 2 * math.log2(d)
    return layers * (passes * 2 * model.n_weights * tokens + 18 * d**3)


def minutes(n_operations: float) -> int:
    """Time limit in minutes of a job with this many operations on one core."""
    return LEAST_MINUTES + math.ceil(PATIENCE * n_operations / CORE_SPEED / 60)


def longest(models: Sequence[Model], settings: Config) -> float:
    """Seconds after which no job uses a downloaded batch any more."""
    measured = minutes(sum(operations(model, settings) for model in models))
    # A batch of several checkpoints has no budgets.
    budgeted = minutes(budget_operations(models[0], settings)) if len(models) == 1 else 0
    # Download, measuring, and perhaps a budget; the last attempt has the most time.
    return 60.0 * ATTEMPTS * (DOWNLOAD_MINUTES + measured + budgeted)


def model_mb(model: Model, settings: Config) -> int:
    """Megabytes of a job that runs a model: its weights twice, and states of a batch."""
    states = settings.batch_tokens * model.n_shards * model.width
    logits = 2 * settings.batch_tokens * (facts.vocabulary(model.config) or 0)
    return PROCESS_MB + math.ceil(4 * (2 * model.n_weights + 2 * states + logits) / 1e6)


def geometry_mb(model: Model, settings: Config) -> int:
    """Megabytes of a job that measures shards while the next model is read."""
    # Two layers and intermediate arrays; 12 times a layer was measured (docs/reference/speed.md).
    layers = 13 * corpus_tokens(model, settings) * model.width
    measuring = PROCESS_MB + math.ceil(4 * (layers + model.n_weights) / 1e6)
    return max(measuring, model_mb(model, settings))
