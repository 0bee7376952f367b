"""Schemas of all tables that one step writes for another step.

The tables are tidy: each row describes one thing, such as a number or a checkpoint. The module
`tables` reads and writes the tables, and checks their columns. A column has the same type in every
table, except `value` in `SAMPLES` and `lead` in `APPROACHES`.
"""

import pyarrow as pa

#: Increase this version when the tables of a checkpoint change. The tables are then written again,
#: from numbers that are already measured.
VERSION = 6
#: The largest integer that a column can contain.
LARGEST = 2**63 - 1
#: Name of the file that contains the readings of a probe, next to the checkpoints of the run.
PROBE_FILE = "probe.parquet"
#: Measures of the shape of a profile. In SHAPES, each measure also has columns for the bounds of
#: its interval.
MEASURES = ("height", "centre", "left", "right", "plateau", "sink_share")

_NAMES = {
    pa.string(): "suite run architecture revision repository folder commit phase corpus pooling "
    "layer_kind selection metric flag source reason tensor_class previous corpus_digest device "
    "shapesweep torch transformers model family over layers noise_source verdict shape to kind "
    "level path sha256 blob",
    pa.int64(): "seed n_layers step tokens bytes layer n_points k document_length n_documents "
    "n_duplicates n_dropped metric_version group n_weights corpus_seed n_features k_low k_high "
    "segment n_checkpoints first_step peak_step peak_step_low peak_step_high last_step n_runs "
    "n_losses onset n_unstable n_stable horizon interval size modified",
    pa.float64(): "value stderr model_stderr radius correlation distance threshold loss rise depth "
    "low high first peak last prominence half_width noise p_value theirs tolerance ours ours_low "
    "ours_high before rate detection detection_low detection_high chance false_alarms "
    "early_alarms lead lead_low lead_high behind behind_low behind_high",
    pa.bool_(): "chosen selected measured transient relative resolved",
    pa.list_(pa.string()): "status",
}
_TYPES = {name: kind for kind, names in _NAMES.items() for name in names.split()}
_TYPES |= {f"{name}{end}": pa.float64() for name in MEASURES for end in ("", "_low", "_high")}


def _schema(names: str, **types: pa.DataType) -> pa.Schema:
    """Return a schema with the named columns; `types` overrides the usual types."""
    return pa.schema([(name, types.get(name) or _TYPES[name]) for name in names.split()])


_RUN = "suite run seed architecture n_layers"
_REVISION = "suite run revision step"
_CHECKPOINT = f"{_RUN} revision step tokens"
_NUMBER = "corpus pooling layer layer_kind selection metric"
_SIGNAL = "step metric value layer layer_kind selection n_points k"
_CURVE = "suite run model seed architecture family n_layers corpus pooling selection metric k"
#: Columns that describe a checkpoint. `segment` is the number of breaks in the run before the
#: checkpoint.
_POINT = "revision step tokens segment"
_DOCUMENTS = "n_documents document_length"
_BAND = f"value low high n_points {_DOCUMENTS} flag"

#: `modified` (in nanoseconds) is null for files on the Hub. `blob` (the id in git) is null for
#: files on this machine.
_FILES = pa.list_(pa.struct(list(_schema("path size sha256 blob modified"))))
MANIFEST = _schema(
    f"{_RUN} revision repository folder commit step tokens phase files bytes status chosen "
    "selected",
    files=_FILES,
)
GEOMETRY = _schema(
    f"{_CHECKPOINT} {_NUMBER} value stderr model_stderr n_points k radius document_length "
    "n_documents n_duplicates n_dropped flag metric_version"
)
REPLICATES = _schema(f"{_REVISION} {_NUMBER} n_points k group value metric_version")
LOSSES = _schema(f"{_REVISION} source corpus value stderr")
#: Readings of a probe in a training run. The table does not name the suite and the run.
PROBE = _schema(_SIGNAL)
#: Values from logs and probes, recorded during training.
HISTORY = _schema(f"suite run source {_SIGNAL}")
FAILURES = _schema(f"{_REVISION} reason measured transient")
#: Checkpoints that figures cannot show, and checkpoints that figures mark as doubtful.
MISSING = FAILURES
#: A sample of the weights of a checkpoint, by the class of the weight matrix.
SAMPLES = _schema("revision tensor_class value", value=pa.float32())
#: Comparison of the weights of neighbouring checkpoints.
CONTINUITY = _schema(
    "suite run previous revision step tensor_class n_weights correlation distance flag"
)
ORIGINS = _schema(
    f"{_REVISION} commit corpus corpus_digest corpus_seed device shapesweep torch transformers"
)
BUDGETS = _schema(
    f"{_CHECKPOINT} corpus layer layer_kind n_features k k_low k_high threshold loss rise "
    f"{_DOCUMENTS} flag"
)
PROFILES = _schema(f"{_CURVE} over {_POINT} layer layer_kind depth {_BAND}")
TRAJECTORIES = _schema(f"{_CURVE} over layers {_POINT} {_BAND}")
PHASES = _schema(
    f"{_CURVE} over layers n_checkpoints first_step first peak_step peak_step_low peak_step_high "
    "peak last_step last prominence half_width noise noise_source p_value verdict"
)
SHAPES = _schema(
    f"{_CURVE} {_POINT} {_DOCUMENTS} shape "
    + " ".join(f"{name} {name}_low {name}_high" for name in MEASURES)
)
COMPARISON = _schema("run metric layer theirs tolerance ours ours_low ours_high n_points verdict")
DISTANCES = _schema(f"{_CURVE} {_POINT} {_DOCUMENTS} to n_runs value low high")
#: Runs whose loss was logged, each with the first onset of an explosion, if any.
SPIKES = _schema("suite run n_losses first_step last_step onset loss before")
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
