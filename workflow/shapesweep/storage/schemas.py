"""Schemas of all tables that one step writes for another step.

The tables are tidy: each row describes one thing, such as a number or a checkpoint. The module
`tables` reads and writes the tables, and checks their columns. A column has the same type in every
table, except `value` in `SAMPLES` and `lead` in `APPROACHES`.
"""

import pyarrow as pa

#: Increase this version when the tables of a checkpoint change. The tables are then written again,
#: from numbers that are already measured.
VERSION = 10
#: The largest integer that a column can contain.
LARGEST = 2**63 - 1
#: Name of the file that contains the readings of a probe, next to the checkpoints of the run.
PROBE_FILE = "probe.parquet"
#: Measures of the shape of a profile. In SHAPES, each measure also has columns for the bounds of
#: its interval.
MEASURES = ("height", "centre", "left", "right", "plateau")

_NAMES = {
    pa.string(): "suite run architecture revision repository folder commit phase corpus pooling "
    "layer_kind selection metric flag source reason tensor_class previous corpus_digest device "
    "shapesweep torch transformers model family over layers noise_source verdict shape to kind "
    "level path sha256 blob tested course paper control of variant text_sha256 stage state "
    "reference log stack",
    pa.int64(): "seed n_layers step tokens bytes layer n_points k document_length n_documents "
    "n_duplicates n_dropped metric_version group n_weights corpus_seed n_features k_low k_high "
    "segment n_checkpoints first_step last_step from_step to_step number sample n_curves n_shown "
    "n_runs n_losses onset n_unstable n_stable horizon interval size modified",
    pa.float64(): "value stderr model_stderr radius correlation distance threshold loss rise "
    "depth without_group height_without_group low high first last noise resolution "
    "theirs tolerance ours ours_low ours_high before after rate detection "
    "detection_low detection_high chance false_alarms early_alarms lead lead_low "
    "lead_high behind behind_low behind_high reference_value reference_low reference_high",
    pa.bool_(): "chosen selected measured transient unexpected relative resolved",
    pa.list_(pa.string()): "status",
}
_TYPES = {name: kind for kind, names in _NAMES.items() for name in names.split()}
_TYPES |= {f"{name}{end}": pa.float64() for name in MEASURES for end in ("", "_low", "_high")}


def _schema(names: str, **types: pa.DataType) -> pa.Schema:
    """Return a schema with the named columns; `types` overrides the usual types."""
    return pa.schema([(name, types.get(name) or _TYPES[name]) for name in names.split()])


_RUN = "suite run seed architecture n_layers"
_REVISION = "suite run revision step"
_CHECKPOINT = f"{_RUN} revision step tokens stage"
_CORPUS = "corpus text_sha256"
#: `stack` is `encoder` or `decoder` for encoder-decoders, and null for all other models.
_NUMBER = f"{_CORPUS} pooling stack layer layer_kind selection metric"
_SIGNAL = "step metric value layer layer_kind selection n_points k"
_CURVE = f"suite run model seed architecture family n_layers {_CORPUS} pooling selection metric k"
#: Columns that describe a checkpoint. `segment` is the number of breaks in the run before the
#: checkpoint.
_POINT = "revision step tokens stage segment"
_DOCUMENTS = "n_documents document_length"
#: `without_group` is the value without the group of documents that causes most of the jackknife
#: variance. If there is such a group, there is no interval.
_BAND = f"value low high without_group n_points {_DOCUMENTS} flag"

#: `modified` (in nanoseconds) is null for files on the Hub. `blob` (the id in git) is null for
#: files on this machine.
_FILES = pa.list_(pa.struct(list(_schema("path size sha256 blob modified"))))
MANIFEST = _schema(
    f"{_RUN} revision repository folder commit step tokens phase stage files bytes status chosen "
    "selected",
    files=_FILES,
)
#: `family` is `decoder` for causal models, and `encoder` for all others.
GEOMETRY = _schema(
    f"{_CHECKPOINT} family {_NUMBER} value stderr without_group model_stderr n_points k radius "
    "document_length n_documents n_duplicates n_dropped flag metric_version"
)
REPLICATES = _schema(f"{_REVISION} {_NUMBER} n_points k group value metric_version")
LOSSES = _schema(f"{_REVISION} source {_CORPUS} value stderr")
#: Readings of a probe in a training run. The table does not name the suite and the run.
PROBE = _schema(_SIGNAL)
#: Values from logs and probes, recorded during training.
HISTORY = _schema(f"suite run source {_SIGNAL}")
#: `unexpected` marks errors of models and libraries. `log` is the path of the job's log, relative
#: to the results; it is null if no job failed.
FAILURES = _schema(f"{_REVISION} reason measured transient unexpected log")
#: Checkpoints that figures cannot show, and checkpoints that figures mark as doubtful.
MISSING = FAILURES
#: A sample of the weights of a checkpoint, by the class of the weight matrix.
SAMPLES = _schema("revision tensor_class value", value=pa.float32())
#: The tables of a single checkpoint, by name. The digest of the text and the stage are added when
#: the tables of a batch are written, because numbers are reused if only these two change.
OF_CHECKPOINT = {
    name: pa.schema([field for field in schema if field.name not in ("text_sha256", "stage")])
    for name, schema in (
        ("geometry", GEOMETRY),
        ("replicates", REPLICATES),
        ("losses", LOSSES),
        ("samples", SAMPLES),
    )
}
#: Comparison of the weights of neighbouring checkpoints.
CONTINUITY = _schema(
    "suite run previous revision step tensor_class n_weights correlation distance flag"
)
#: Runs whose weights at `step` are those of the run `of`.
COPIES = _schema("suite run of step correlation")
ORIGINS = _schema(
    f"{_REVISION} commit {_CORPUS} corpus_digest corpus_seed device shapesweep torch transformers"
)
BUDGETS = _schema(
    f"{_CHECKPOINT} {_CORPUS} layer layer_kind n_features k k_low k_high threshold loss rise "
    f"{_DOCUMENTS} flag"
)
PROFILES = _schema(f"{_CURVE} stack over {_POINT} layer layer_kind depth {_BAND}")
TRAJECTORIES = _schema(f"{_CURVE} over layers {_POINT} {_BAND}")
#: The course of every curve over training. `tested` is `paper` or `control` for the two curves on
#: which the claim of two phases is tested, and null for all others.
PHASES = _schema(
    f"{_CURVE} over layers tested n_points n_checkpoints first_step first last_step last noise "
    "noise_source resolution course verdict flag"
)
#: Rises and falls of the curves, from the value `before` at `from_step` to the value `after` at
#: `to_step`. `low` and `high` are the ends of an interval for the size.
MOVES = _schema(
    f"{_CURVE} over layers number kind from_step to_step before after size low high",
    size=pa.float64(),
)
#: For every run, variant and sample of documents, the verdicts of the paper's curve and of its
#: control, and their combination. `n_curves` counts all other curves, and `n_shown` those of them
#: that rise and then fall.
VERDICTS = _schema(
    "suite run model seed architecture family n_layers over variant sample paper control verdict "
    "n_curves n_shown"
)
SHAPES = _schema(
    f"{_CURVE} {_POINT} {_DOCUMENTS} shape "
    + " ".join(f"{name} {name}_low {name}_high" for name in MEASURES)
    + " height_without_group"
)
COMPARISON = _schema(
    "run text_sha256 metric layer theirs tolerance ours ours_low ours_high n_points verdict"
)
DISTANCES = _schema(f"{_CURVE} {_POINT} {_DOCUMENTS} to n_runs value low high")
#: Runs whose loss was logged, each with the first onset of an explosion, if any.
SPIKES = _schema("suite run n_losses first_step last_step onset loss before")
#: ID and anisotropy of checkpoints before, in and after a loss spike. The columns of the reference
#: contain the values of another run at the same step.
SPIKED = _schema(
    f"suite run {_CORPUS} selection metric revision step tokens state loss value low high "
    "reference reference_value reference_low reference_high"
)
#: How signals change before an onset, and how they change in stable runs at the same steps.
APPROACHES = _schema(
    "suite metric layer k kind lead n_runs relative value low high", lead=pa.int64()
)
#: How well each signal warns of explosions.
WARNINGS = _schema(
    "suite level family metric layer k n_unstable n_stable rate horizon interval threshold "
    "detection detection_low detection_high chance false_alarms early_alarms lead lead_low "
    "lead_high resolved behind behind_low behind_high"
)
