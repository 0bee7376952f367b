"""The geometry: numbers per shard, each with its N, its error and its replicates.

Takes in the shards of a checkpoint; hands on rows of `tables.GEOMETRY` and
`tables.REPLICATES`. One covariance and one neighbour search a cloud serve all metrics.
"""

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from shapesweep import tables
from shapesweep.activations import FAILED
from shapesweep.errors import ShapesweepError
from shapesweep.estimators import dimension, jackknife, neighbors, spectrum

SELECTIONS = ("all", "no_first")
#: Version of every metric: raise it when a metric's numbers change, and it is measured anew.
METRICS = {
    "anisotropy": 1,
    "mean_cosine": 1,
    "id_twonn": 1,
    "id_twonn_paper": 1,
    "id_twonn_between": 1,
    "same_document_nn": 1,
}
#: Neighbours kept a point, so that two are left whichever group of documents is left out.
LIST_LENGTH = 16
#: A distance of fewer float32 units in the last place than this is mostly rounding (a state is a
#: sum over features and blocks); more than this share of such points, and the shard is flagged.
ROUNDING, ROUNDING_SHARE = 32, 0.01
#: Seed of the one permutation of tokens from which the N points of every cloud are taken.
PERMUTATION_SEED = 0


@dataclass(frozen=True)
class Shard:
    """A shard in memory.

    Attributes
    ----------
    metadata : dict
    document, position, token : ndarray of int32, shape (n_tokens,)
    activation : ndarray of float32, shape (n_tokens, n_features)
    """

    metadata: dict
    document: np.ndarray
    position: np.ndarray
    token: np.ndarray
    activation: np.ndarray

    def selected(self, selection):
        """Which tokens a selection keeps: ndarray of bool, shape (n_tokens,)."""
        if selection == "all":
            return np.ones(len(self.token), dtype=bool)
        lengths = np.bincount(self.document)[self.document]
        first = self.position < max(1, self.metadata["n_prefix"])
        return ~first & (self.position < lengths - self.metadata["n_suffix"])

    def contexts(self):
        """A number for what each token's state can depend on: equal numbers, repeated rows.

        In a causal model that is the document up to the token, else the whole document
        and the place. Rounding may tell such rows apart where they went through in
        different batches; they are repeats all the same.
        """
        seen, contexts = {}, np.empty(len(self.token), dtype=np.int64)
        order = np.lexsort((self.position, self.document))
        starts = np.flatnonzero(np.diff(self.document[order], prepend=-1))
        causal = self.metadata["causal"]
        for rows in np.split(order, starts[1:]):
            # A tree of tokens: a causal model's context is the way from its root, another's begins
            # behind the whole document.
            whole = None if causal else self.token[rows].tobytes()
            context = seen.setdefault(whole, len(seen))
            for row in rows:
                context = seen.setdefault((context, int(self.token[row])), len(seen))
                contexts[row] = context
        return contexts


def read_shard(path):
    """Read a shard back.

    Raises
    ------
    ShapesweepError
        If it is damaged.
    """
    try:
        table = pq.read_table(path, partitioning=None)
        metadata = json.loads(table.schema.metadata[b"shapesweep"])
        columns = [table[name].combine_chunks() for name in ("document", "position", "token")]
        activation = table["activation"].combine_chunks()
        width = activation.type.list_size
        values = activation.flatten().to_numpy().reshape(-1, width)
    except (pa.ArrowException, OSError, KeyError, TypeError, ValueError) as error:
        reason = (str(error) or type(error).__name__).splitlines()[0]
        raise ShapesweepError(f"{path}: not a whole shard ({reason})") from None
    return Shard(metadata, *(column.to_numpy() for column in columns), values)


def measure(activations, out, settings):
    """Measure every shard of a checkpoint.

    Parameters
    ----------
    activations : path-like
        What `activations.extract` has made.
    out : path-like
        A folder, made whole or not at all: geometry, replicates, losses, failures (`.parquet`).
    settings : shapesweep.config.GeometryConfig
    """
    activations = Path(activations)
    geometry, replicates, failures, losses = [], [], [], []
    if (activations / FAILED).is_file():
        failures = [json.loads((activations / FAILED).read_bytes())]
    else:
        losses = tables.read(activations / "losses.parquet", tables.LOSSES)
        for path in sorted(activations.glob("*/layer-*.parquet")):
            shard = read_shard(path)
            for row, without in measure_shard(shard, settings.n_points, settings.groups):
                geometry.append(row)
                replicates += without
    with tables.whole_folder(out) as partial:
        tables.write(geometry, tables.GEOMETRY, partial / "geometry.parquet")
        tables.write(replicates, tables.REPLICATES, partial / "replicates.parquet")
        tables.write(losses, tables.LOSSES, partial / "losses.parquet")
        tables.write(failures, tables.FAILURES, partial / "failures.parquet")


def measure_shard(shard, n_points, n_groups):
    """All numbers of one shard.

    Parameters
    ----------
    shard : Shard
    n_points : int
        N of every ID estimate, counted after repeated rows are gone.
    n_groups : int
        Groups of documents that the jackknife leaves out.

    Returns
    -------
    list of (dict, list of dict)
        A row of `tables.GEOMETRY` with its rows of `tables.REPLICATES`.
    """
    n_groups = min(n_groups, shard.metadata["n_documents"])
    kept = {selection: shard.selected(selection) for selection in SELECTIONS}
    samples, n_unique = _samples(shard, kept, n_points)
    # The selections' samples overlap almost wholly, so that one search serves them all.
    pooled = np.unique(np.concatenate(list(samples.values())))
    lists = neighbors.search(shard.activation[pooled], LIST_LENGTH, shard.document[pooled])
    made = []
    for selection in SELECTIONS:
        cloud = shard.activation[kept[selection]]
        documents = shard.document[kept[selection]]
        spectral = _spectral(cloud, jackknife.assign_groups(documents, n_groups), n_groups)
        n_kept, n_sample = len(cloud), len(samples[selection])
        sampled = np.isin(pooled, samples[selection])
        neighbourly = _neighbourly(*lists, shard.document[pooled], sampled, n_groups)
        shared = {"selection": selection, "n_dropped": len(shard.token) - n_kept}
        for metric, number in spectral.items():
            own = {**shared, "n_points": n_kept, "n_duplicates": 0}
            made.append(_rows(shard.metadata, metric, own, number, []))
        for metric, number in neighbourly.items():
            n_duplicates = n_kept - n_unique[selection]
            own = {**shared, "n_points": n_sample, "n_duplicates": n_duplicates}
            flags = ["shortfall"] if n_sample < n_points else []
            flags += ["rounding"] if number["rounding"] else []
            made.append(_rows(shard.metadata, metric, own, number, flags))
    return made


def _samples(shard, kept, n_points):
    """For every selection, the first N different rows in the order of one fixed permutation.

    Returns
    -------
    samples : dict of ndarray of int
        Rows of the shard.
    n_unique : dict of int
        Different rows of the whole selection.
    """
    contexts = shard.contexts()
    permutation = np.random.default_rng(PERMUTATION_SEED).permutation(len(shard.token))
    samples, n_unique = {}, {}
    for selection, mask in kept.items():
        shuffled = permutation[mask[permutation]]
        unique = neighbors.unique_rows(shard.activation[shuffled], contexts[shuffled])
        samples[selection] = shuffled[unique[:n_points]]
        n_unique[selection] = len(unique)
    return samples, n_unique


def _spectral(cloud, groups, n_groups):
    full = spectrum.covariance(cloud)
    return {
        "anisotropy": _number(
            full.anisotropy, spectrum.anisotropy_without(cloud, full, groups, n_groups)
        ),
        "mean_cosine": _number(
            spectrum.mean_cosine(cloud), spectrum.mean_cosine_without(cloud, groups, n_groups)
        ),
    }


def _neighbourly(anywhere, between, documents, sampled, n_groups):
    """Every metric of nearest neighbours of a sample, from one search, with its replicates."""
    groups = jackknife.assign_groups(documents, n_groups)

    def estimates(keep):
        distances, indices = anywhere.nearest(2, keep)
        other, _ = between.nearest(2, keep)
        found = indices[:, 0] >= 0
        same = documents[indices[:, 0]] == documents[keep]
        return {
            "id_twonn": (dimension.id_twonn(distances), 2, distances[:, 1]),
            "id_twonn_paper": (dimension.id_twonn_paper(distances), 2, distances[:, 1]),
            "id_twonn_between": (dimension.id_twonn(other), 2, other[:, 1]),
            "same_document_nn": (
                float(same[found].mean()) if found.any() else np.nan,
                1,
                distances[:, 0],
            ),
        }

    full = estimates(sampled)
    # Where nearest neighbours lie at the resolution of float32, ratios of distances are noise.
    resolution = np.finfo(np.float32).eps * np.linalg.norm(anywhere.points[sampled], axis=1)
    _, _, nearest = full["same_document_nn"]
    rounding = bool((nearest < ROUNDING * resolution).mean() > ROUNDING_SHARE)
    left = [estimates(sampled & (groups != group)) for group in range(n_groups)]
    return {
        metric: {
            **_number(value, [one[metric][0] for one in left], k, _mean_finite(reach)),
            "rounding": rounding,
        }
        for metric, (value, k, reach) in full.items()
    }


def _number(value, replicates, k=None, radius=None):
    return {"value": value, "replicates": list(replicates), "k": k, "radius": radius}


def _mean_finite(distances):
    finite = distances[np.isfinite(distances)]
    return float(finite.mean()) if len(finite) else None


def _rows(metadata, metric, own, number, flags):
    """A row of `tables.GEOMETRY` and its rows of `tables.REPLICATES`."""
    flags = flags if np.isfinite(number["value"]) else [*flags, "undefined"]
    shared = {key: metadata[key] for key in ("suite", "run", "revision", "step")}
    shared |= {key: metadata[key] for key in ("corpus", "pooling", "layer", "layer_kind")}
    shared |= {"metric": metric, "metric_version": METRICS[metric], "k": number["k"]}
    shared |= {key: own[key] for key in ("selection", "n_points")}
    named = ("seed", "architecture", "n_layers", "tokens", "document_length", "n_documents")
    row = {
        **shared,
        **own,
        **{key: metadata[key] for key in named},
        "value": number["value"],
        "stderr": float(jackknife.stderr(number["replicates"])),
        "radius": number["radius"],
        "flag": ",".join(flags),
    }
    return row, [{**shared, "group": g, "value": v} for g, v in enumerate(number["replicates"])]
