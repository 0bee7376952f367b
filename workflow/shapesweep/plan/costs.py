"""Estimates of the disk space, memory, operations and time that a checkpoint needs.

The estimates are computed from the size of the model, and are rough: operations are counted, not
timed. The resources of Snakemake's jobs, the sizes of batches, and the inventory depend on these
estimates.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from shapesweep.checkpoint import facts
from shapesweep.checkpoint.files import model_files
from shapesweep.config.suite import AnySuite, EmbeddedSuite
from shapesweep.config.sweep import Config
from shapesweep.corpora import CORPORA, PAPER_DOCUMENTS, CorpusConfig, expand
from shapesweep.manifest.selection import Listed
from shapesweep.storage.files import stats
from shapesweep.storage.selections import DRAWS, LEAST, LENGTHS

#: Assumed speed of downloads (bytes per second) and of a core (operations per second). If the
#: counted operations are divided by the times in docs/reference/cost.md, the result is 40 to 90
#: Gflop/s.
DOWNLOAD_SPEED, CORE_SPEED = 50e6, 50e9
#: `PAIR` is the number of operations per pair of points in a neighbour search, in addition to the
#: matrix product. `POINT` is the number of operations per point and replicate for all intrinsic
#: dimensions of all selections. Both numbers are derived from the times in docs/reference/cost.md.
PAIR, POINT = 600, 4.5e5
#: Bytes that schemas and logs add to each shard and to each checkpoint.
OVERHEAD = 16_384
#: Memory in MB of a process that has imported torch and transformers.
PROCESS_MB = 1000
#: The time limit of a measurement is `LEAST_MINUTES` plus `PATIENCE` times the expected time. The
#: limit is generous, because it should stop only jobs that hang, and not jobs on a slow machine.
LEAST_MINUTES, PATIENCE = 20, 6
#: Time limit of a download in minutes, and the number of attempts of a job.
DOWNLOAD_MINUTES, ATTEMPTS = 720, 3
#: Characters per chunk if the sampling is `paper`. A tokenizer with at least `_SUBWORDS` entries
#: splits an English chunk into about 110 tokens. The estimate assumes one token per two characters.
_CHUNK, _SUBWORDS = 512, 1024
_DTYPES = {"float16": 2, "bfloat16": 2, "float32": 4, "float64": 8}


@dataclass(frozen=True)
class Model:
    """The facts about a checkpoint that determine its costs.

    Attributes
    ----------
    config : mapping
        The `config.json`, as far as it is known.
    n_bytes : int
        Total size of the files of the checkpoint.
    """

    config: Mapping[str, Any]
    n_bytes: int

    @classmethod
    def of(cls, checkpoint: Listed, suite: AnySuite) -> "Model":
        """Return the facts that are known about a checkpoint before its files are read.

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
        folders = [checkpoint.folder, *filter(None, [checkpoint.base])]
        files = [path for folder in folders for path in model_files(folder)]
        n_bytes = sum(size for _, size, _ in stats(files))
        return cls(facts.description(folders[-1]) or {}, n_bytes)

    @property
    def width(self) -> int:
        """The number of dimensions of a hidden state; 0 if unknown."""
        return facts.width(self.config) or 0

    @property
    def n_shards(self) -> int:
        """The maximum number of shards of a corpus: embedding, every block, and final norm."""
        return (facts.n_layers(self.config) or 0) + 2

    @property
    def n_weights(self) -> float:
        """The number of weights, computed from the size of the files."""
        dtype = str(self.config.get("torch_dtype", self.config.get("dtype")))
        return self.n_bytes / _DTYPES.get(dtype, 4)


def n_tokens(model: Model, settings: Config) -> int:
    """Return the maximum number of tokens that a checkpoint reads, summed over all corpora."""
    return sum(_n_read(model, pooling, corpus) for pooling, corpus in _all_corpora(settings))


def n_kept(model: Model, settings: Config) -> int:
    """Return the maximum number of tokens whose states are kept, summed over all corpora."""
    return sum(_n_kept(model, pooling, corpus) for pooling, corpus in _all_corpora(settings))


def _all_corpora(settings: Config) -> list[tuple[str, CorpusConfig]]:
    """Return the pooling and the settings of all corpora: every sample, for all variants."""
    corpora = expand(settings.corpora, settings.corpus)
    return [(CORPORA[label.kind].pooling, corpus) for label, corpus in corpora]


def _n_read(model: Model, pooling: str, corpus: CorpusConfig) -> int:
    """Return the maximum number of tokens in the documents of a corpus."""
    if pooling == "tokens":
        return corpus_tokens(model, corpus)
    short = corpus.last if pooling == "last" else corpus.passages
    return short.documents * short.length


def _n_kept(model: Model, pooling: str, corpus: CorpusConfig) -> int:
    """Return the maximum number of tokens of a corpus whose states are kept."""
    if pooling == "passages":
        # A few tokens of every document, and all tokens of some documents.
        return 2 * DRAWS * corpus.passages.documents
    return corpus.last.documents if pooling == "last" else corpus_tokens(model, corpus)


def corpus_tokens(model: Model, corpus: CorpusConfig) -> int:
    """Return the maximum number of tokens in a corpus with the pooling `tokens`."""
    entries = facts.vocabulary(model.config) or 0
    chunk = _CHUNK // 2 if entries >= _SUBWORDS else _CHUNK
    if corpus.sampling == "paper":
        return PAPER_DOCUMENTS * chunk
    return corpus.documents * corpus.length


def footprint(model: Model, settings: Config) -> int:
    """Return the bytes on disk that a checkpoint needs while it is measured: its files and shards.

    Shards that are kept count as results, so they are not included.
    """
    return model.n_bytes + (0 if settings.keep_activations else shard_bytes(model, settings))


def shard_bytes(model: Model, settings: Config) -> int:
    """Return the size of a checkpoint's shards in bytes: the float32 states of all layers."""
    # A shard stores the state of each token, and four more columns.
    shards = n_kept(model, settings) * model.n_shards * (4 * model.width + 16)
    return shards + OVERHEAD * (1 + len(_all_corpora(settings)) * model.n_shards)


def operations(model: Model, settings: Config) -> float:
    """Return the number of operations to measure a checkpoint, without its dimension budget."""
    forward = 2 * model.n_weights * n_tokens(model, settings)
    each = (_layer_operations(model, settings, *corpus) for corpus in _all_corpora(settings))
    return forward + model.n_shards * sum(each)


def _layer_operations(model: Model, settings: Config, pooling: str, corpus: CorpusConfig) -> float:
    """Return the number of operations to measure the states of one layer on one corpus."""
    d, n, groups = model.width, settings.geometry.n_points, settings.geometry.groups

    def search(size: int) -> float:
        size = min(size, n)
        return size**2 * (2 * d + PAIR) + size * groups * POINT

    # Each draw of a subsample has its own search.
    if pooling == "passages":
        # Passages have neither spectra nor a search over N points.
        return 2 * DRAWS * search(corpus.passages.documents)
    tokens = _n_kept(model, pooling, corpus)
    # Each selection needs a covariance, two spectra, the projections of the tokens onto their axes,
    # a fit to the previous layer, and the replicates of the fit. All selections share one neighbour
    # search.
    spectra = 17 * tokens * d**2 + (18 + 1.3 * groups) * d**3
    if pooling == "last":
        return 3 * spectra + search(n)
    # Each length of shortened documents needs two spectra. The covariances of all lengths together
    # are estimated to cost as much as the covariance of all tokens.
    n_cuts = sum(length < corpus.length for length in LENGTHS.values())
    cuts = n_cuts * 18 * d**3 + 2 * tokens * d**2
    drawn = search(corpus.documents) + search(_n_types(model, corpus))
    return 3 * spectra + cuts + search(n) + 2 * DRAWS * drawn


def _n_types(model: Model, corpus: CorpusConfig) -> int:
    """Estimate the number of different tokens of a corpus; 0 if they are too few for subsamples."""
    # In a text of ten thousand tokens, about every fourth token is the first of its type.
    n_types = min(facts.vocabulary(model.config) or 0, corpus_tokens(model, corpus) // 4)
    return n_types if n_types >= LEAST["one_per_type"] else 0


def budget_operations(model: Model, settings: Config) -> float:
    """Return the number of operations to measure the dimension budget of a checkpoint."""
    d, layers = model.width or 1, model.n_shards - 1
    corpus = settings.corpus.model_copy(update={"samples": 1, "variants": {}})
    tokens = n_tokens(model, settings.model_copy(update={"corpora": ["text"], "corpus": corpus}))
    # The dimension budget of a layer needs the principal axes and three bisections. By measurement,
    # three bisections cost twice as much as one bisection, because they share most forward passes.
    passes = 2 * math.log2(d)
    return layers * (passes * 2 * model.n_weights * tokens + 18 * d**3)


def minutes(n_operations: float) -> int:
    """Return the time limit, in minutes, of a job with `n_operations` operations on one core."""
    return LEAST_MINUTES + math.ceil(PATIENCE * n_operations / CORE_SPEED / 60)


def longest(models: Sequence[Model], settings: Config) -> float:
    """Return the number of seconds after which no job uses a downloaded batch any more."""
    measured = minutes(sum(operations(model, settings) for model in models))
    # A batch of several checkpoints has no dimension budgets.
    budgeted = minutes(budget_operations(models[0], settings)) if len(models) == 1 else 0
    # The jobs that use the batch are its download, its measurement, and possibly the measurement of
    # a dimension budget. The last attempt of a job has the longest time limit.
    return 60.0 * ATTEMPTS * (DOWNLOAD_MINUTES + measured + budgeted)


def model_mb(model: Model, settings: Config) -> int:
    """Return the memory in MB of a job that runs a model: the weights twice, states, and logits."""
    states = settings.batch_tokens * model.n_shards * model.width
    logits = 2 * settings.batch_tokens * (facts.vocabulary(model.config) or 0)
    return PROCESS_MB + math.ceil(4 * (2 * model.n_weights + 2 * states + logits) / 1e6)


def geometry_mb(model: Model, settings: Config) -> int:
    """Return the memory in MB of a job that measures shards while the next model is loaded."""
    # The job holds two layers and intermediate arrays. By measurement, these two layers and the
    # arrays take 12 times the memory of one layer (docs/reference/speed.md). The estimate adds one
    # layer as a reserve.
    most = max(_n_kept(model, *corpus) for corpus in _all_corpora(settings))
    layers = 13 * most * model.width
    measuring = PROCESS_MB + math.ceil(4 * (layers + model.n_weights) / 1e6)
    return max(measuring, model_mb(model, settings))
