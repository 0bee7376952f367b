"""What a checkpoint costs, from its model's size: bytes on the disk, memory, operations, time.

Rough on purpose: operations are counted, not timed. Snakemake's resources, the batches and the
plan of a sweep are made of these numbers; `inventory` says them to people.
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

#: Assumed of the line to the Hub (bytes a second) and of a core (operations a second: our count of
#: them over the seconds of docs/reference/cost.md are 40 to 90 Gflop/s).
LINE, CORE = 50e6, 50e9
#: What a search does with a pair of points besides their product, and the IDs with a point in each
#: replicate, all selections counted: the operations of their seconds there.
PAIR, POINT = 600, 4.5e5
#: Bytes that a shard needs besides its numbers, and a checkpoint besides its shards: schemas, logs.
OVERHEAD = 16_384
#: Megabytes of a process that has torch and transformers loaded.
PROCESS_MB = 1000
#: Minutes that a job is given at least, and times its expected minutes: another machine may be
#: slower, and a time limit is there to end what hangs.
LEAST_MINUTES, PATIENCE = 20, 6
#: Minutes that a download is given, and attempts of a job that fails.
DOWNLOAD_MINUTES, ATTEMPTS = 720, 3
#: Characters of a chunk of the paper's. A tokenizer of so many entries or more makes some 110
#: tokens of it in English, and is taken to make no more than half as many as it has characters.
_CHUNK, _SUBWORDS = 512, 1024
_DTYPES = {"float16": 2, "bfloat16": 2, "float32": 4, "float64": 8}


@dataclass(frozen=True)
class Model:
    """What the cost of a checkpoint depends on.

    Attributes
    ----------
    config : mapping
        Its `config.json`, as far as it is known.
    n_bytes : int
        Of its files.
    """

    config: Mapping[str, Any]
    n_bytes: int

    @classmethod
    def of(cls, checkpoint: Listed, suite: AnySuite) -> "Model":
        """What is known of a checkpoint before it is read.

        Parameters
        ----------
        one : Listed
        suite : EmbeddedSuite, LocalSuite or HubSuite
        """
        if checkpoint.published:
            return cls.published(checkpoint)
        if isinstance(suite, EmbeddedSuite):
            config = {"vocab_size": suite.vocabulary, **suite.runs[checkpoint.run].model}
            d, layers = facts.width(config) or 0, facts.n_layers(config) or 0
            return cls(config, 4 * (12 * layers * d**2 + 2 * suite.vocabulary * d))
        n_bytes = sum(size for _, size, _ in stats(model_files(checkpoint.folder)))
        return cls(facts.description(checkpoint.folder) or {}, n_bytes)

    @classmethod
    def published(cls, checkpoint: Listed) -> "Model":
        """The same of a checkpoint on the Hub; nothing of one that lies nowhere."""
        published = checkpoint.published
        return (
            cls(published.config, sum(f.size for f in published.files)) if published else cls({}, 0)
        )

    @property
    def width(self) -> int:
        """Features of a hidden state; 0 where nothing tells it."""
        return facts.width(self.config) or 0

    @property
    def n_shards(self) -> int:
        """Shards of a corpus: the embedding, every block, and the last before a final norm."""
        return (facts.n_layers(self.config) or 0) + 2

    @property
    def n_weights(self) -> float:
        """Weights, by the bytes of one."""
        dtype = str(self.config.get("torch_dtype", self.config.get("dtype")))
        return self.n_bytes / _DTYPES.get(dtype, 4)


def n_tokens(model: Model, settings: Config) -> int:
    """Tokens that a checkpoint reads, at most: all corpora."""
    last = settings.corpus.last
    poolings = [CORPORA[name].pooling for name in settings.corpora]
    whole = poolings.count("tokens") * corpus_tokens(model, settings)
    return whole + poolings.count("last") * last.documents * last.length


def corpus_tokens(model: Model, settings: Config) -> int:
    """Tokens of one corpus, at most, of which all are measured."""
    entries = facts.vocabulary(model.config) or 0
    chunk = _CHUNK // 2 if entries >= _SUBWORDS else _CHUNK
    length = settings.corpus.length if settings.corpus.sampling == "windows" else chunk
    return settings.corpus.documents * length


def footprint(model: Model, settings: Config) -> int:
    """Bytes that a checkpoint fills at most while it is measured: its files and its shards.

    Shards that are to be kept are results, and not counted.
    """
    return model.n_bytes + (0 if settings.keep_activations else shard_bytes(model, settings))


def shard_bytes(model: Model, settings: Config) -> int:
    """Bytes of a checkpoint's shards: every layer's states in float32, of every corpus."""
    # A state, and a token's document, position and number.
    shards = n_tokens(model, settings) * model.n_shards * (4 * model.width + 12)
    return shards + OVERHEAD * (1 + len(settings.corpora) * model.n_shards)


def operations(model: Model, settings: Config) -> float:
    """Operations of a checkpoint: the forward passes, then neighbours and spectra of its shards."""
    forward = 2 * model.n_weights * n_tokens(model, settings)
    d, n = model.width, settings.geometry.n_points
    shards = len(settings.corpora) * model.n_shards
    tokens = n_tokens(model, settings) / len(settings.corpora)
    # For each selection a covariance, two spectra and all tokens turned to their axes, a fit to the
    # layer before and that without each group of documents; one neighbour search for all of them.
    spectra = 17 * tokens * d**2 + (18 + 1.3 * settings.geometry.groups) * d**3
    # Of every shorter length two spectra and their tokens, together no more than all again.
    n_cuts = sum(length < settings.corpus.length for length in LENGTHS.values())
    cuts = n_cuts * 18 * d**3 + 2 * tokens * d**2
    neighbors = n**2 * (2 * d + PAIR) + n * settings.geometry.groups * POINT
    return forward + shards * (3 * spectra + cuts + neighbors)


def budget_operations(model: Model, settings: Config) -> float:
    """Operations of a dimension budget: a bisection of passes a layer, and its axes."""
    d, layers = model.width or 1, model.n_shards - 1
    tokens = n_tokens(model, settings.model_copy(update={"corpora": ["text"]}))
    # The ends of the interval share most of their way; twice a single bisection was measured.
    passes = 2 * math.log2(d)
    return layers * (passes * 2 * model.n_weights * tokens + 18 * d**3)


def minutes(n_operations: float) -> int:
    """Minutes to allow a job of so many operations on one core."""
    return LEAST_MINUTES + math.ceil(PATIENCE * n_operations / CORE / 60)


def longest(models: Sequence[Model], settings: Config) -> float:
    """Seconds after which no job may work any more on checkpoints that are downloaded together."""
    measured = minutes(sum(operations(model, settings) for model in models))
    # Of several none is budgeted.
    budgeted = minutes(budget_operations(models[0], settings)) if len(models) == 1 else 0
    # Fetched, measured and perhaps budgeted; the last attempt has the most time.
    return 60.0 * ATTEMPTS * (DOWNLOAD_MINUTES + measured + budgeted)


def model_mb(model: Model, settings: Config) -> int:
    """Megabytes of a job that runs a model: two copies of its weights, and a batch's states."""
    states = settings.batch_tokens * model.n_shards * model.width
    logits = 2 * settings.batch_tokens * (facts.vocabulary(model.config) or 0)
    return PROCESS_MB + math.ceil(4 * (2 * model.n_weights + 2 * states + logits) / 1e6)


def geometry_mb(model: Model, settings: Config) -> int:
    """Megabytes of a job that runs a model, and measures its shards while the next one is read."""
    # Two neighbouring layers, and what is made of one: 12 times a layer was measured
    # (docs/reference/speed.md).
    layers = 13 * corpus_tokens(model, settings) * model.width
    measuring = PROCESS_MB + math.ceil(4 * (layers + model.n_weights) / 1e6)
    return max(measuring, model_mb(model, settings))
