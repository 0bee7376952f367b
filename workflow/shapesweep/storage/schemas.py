"""Schemas: the columns of every table that one step writes for another.

The tables are tidy, with one number per row. `tables` reads and writes them, and refuses other
columns.
"""

import pyarrow as pa

#: Raise it when the tables of a checkpoint change: they are written again, from the kept numbers.
VERSION = 6
_TEXT, _INT, _FLOAT = pa.string(), pa.int64(), pa.float64()

_RUN = [
    ("suite", _TEXT),
    ("run", _TEXT),
    ("seed", _INT),
    ("architecture", _TEXT),
    ("n_layers", _INT),
]
_CHECKPOINT = [
    *_RUN,
    ("revision", _TEXT),
    ("step", _INT),
    ("tokens", _INT),
]
_NUMBER = [
    ("corpus", _TEXT),
    ("pooling", _TEXT),
    ("layer", _INT),
    ("layer_kind", _TEXT),
    ("selection", _TEXT),
    ("metric", _TEXT),
]

#: `modified` (nanoseconds) is set for files on this machine, `blob` (the id in git) for files on
#: the Hub.
_FILE = [("path", _TEXT), ("size", _INT), ("sha256", _TEXT), ("blob", _TEXT), ("modified", _INT)]
MANIFEST = pa.schema(
    [
        *_RUN,
        ("revision", _TEXT),
        ("repository", _TEXT),
        ("folder", _TEXT),
        ("commit", _TEXT),
        ("step", _INT),
        ("tokens", _INT),
        ("phase", _TEXT),
        ("files", pa.list_(pa.struct(_FILE))),
        ("bytes", _INT),
        ("status", pa.list_(_TEXT)),
        ("chosen", pa.bool_()),
        ("selected", pa.bool_()),
    ]
)
GEOMETRY = pa.schema(
    [
        *_CHECKPOINT,
        *_NUMBER,
        ("value", _FLOAT),
        ("stderr", _FLOAT),
        ("model_stderr", _FLOAT),
        ("n_points", _INT),
        ("k", _INT),
        ("radius", _FLOAT),
        ("document_length", _INT),
        ("n_documents", _INT),
        ("n_duplicates", _INT),
        ("n_dropped", _INT),
        ("flag", _TEXT),
        ("metric_version", _INT),
    ]
)
REPLICATES = pa.schema(
    [
        ("suite", _TEXT),
        ("run", _TEXT),
        ("revision", _TEXT),
        ("step", _INT),
        *_NUMBER,
        ("n_points", _INT),
        ("k", _INT),
        ("group", _INT),
        ("value", _FLOAT),
        ("metric_version", _INT),
    ]
)
LOSSES = pa.schema(
    [
        ("suite", _TEXT),
        ("run", _TEXT),
        ("revision", _TEXT),
        ("step", _INT),
        ("source", _TEXT),
        ("corpus", _TEXT),
        ("value", _FLOAT),
        ("stderr", _FLOAT),
    ]
)
_SIGNAL = [
    ("step", _INT),
    ("metric", _TEXT),
    ("value", _FLOAT),
    ("layer", _INT),
    ("layer_kind", _TEXT),
    ("selection", _TEXT),
    ("n_points", _INT),
    ("k", _INT),
]
#: Measured by a probe while a run was trained; the probe does not know the suite.
PROBE = pa.schema(_SIGNAL)
#: Recorded while runs were trained, by logs and by probes.
HISTORY = pa.schema([("suite", _TEXT), ("run", _TEXT), ("source", _TEXT), *_SIGNAL])
FAILURES = pa.schema(
    [
        ("suite", _TEXT),
        ("run", _TEXT),
        ("revision", _TEXT),
        ("step", _INT),
        ("reason", _TEXT),
        ("measured", pa.bool_()),
        ("transient", pa.bool_()),
    ]
)
#: Measures of the shape of a profile.
MEASURES = ("height", "centre", "left", "right", "plateau", "sink_share")
#: A sample of the weights of a checkpoint, by the class of their matrix.
SAMPLES = pa.schema([("revision", _TEXT), ("tensor_class", _TEXT), ("value", pa.float32())])
#: Comparison of the weights of neighbouring checkpoints.
CONTINUITY = pa.schema(
    [
        ("suite", _TEXT),
        ("run", _TEXT),
        ("previous", _TEXT),
        ("revision", _TEXT),
        ("step", _INT),
        ("tensor_class", _TEXT),
        ("n_weights", _INT),
        ("correlation", _FLOAT),
        ("distance", _FLOAT),
        ("flag", _TEXT),
    ]
)
#: Checkpoints that figures cannot show, or show with doubts.
MISSING = FAILURES
ORIGINS = pa.schema(
    [
        ("suite", _TEXT),
        ("run", _TEXT),
        ("revision", _TEXT),
        ("step", _INT),
        ("commit", _TEXT),
        ("corpus", _TEXT),
        ("corpus_digest", _TEXT),
        ("corpus_seed", _INT),
        ("device", _TEXT),
        ("shapesweep", _TEXT),
        ("torch", _TEXT),
        ("transformers", _TEXT),
    ]
)
BUDGETS = pa.schema(
    [
        *_CHECKPOINT,
        ("corpus", _TEXT),
        ("layer", _INT),
        ("layer_kind", _TEXT),
        ("n_features", _INT),
        ("k", _INT),
        ("k_low", _INT),
        ("k_high", _INT),
        ("threshold", _FLOAT),
        ("loss", _FLOAT),
        ("rise", _FLOAT),
        ("n_documents", _INT),
        ("document_length", _INT),
        ("flag", _TEXT),
    ]
)
_CURVE = [
    ("suite", _TEXT),
    ("run", _TEXT),
    ("model", _TEXT),
    ("seed", _INT),
    ("architecture", _TEXT),
    ("family", _TEXT),
    ("n_layers", _INT),
    ("corpus", _TEXT),
    ("pooling", _TEXT),
    ("selection", _TEXT),
    ("metric", _TEXT),
    ("k", _INT),
]
#: The checkpoint, and the number of breaks before it in its run.
_WHEN = [
    ("revision", _TEXT),
    ("step", _INT),
    ("tokens", _INT),
    ("segment", _INT),
]
_BAND = [
    ("value", _FLOAT),
    ("low", _FLOAT),
    ("high", _FLOAT),
    ("n_points", _INT),
    ("n_documents", _INT),
    ("document_length", _INT),
    ("flag", _TEXT),
]
PROFILES = pa.schema(
    [
        *_CURVE,
        ("over", _TEXT),
        *_WHEN,
        ("layer", _INT),
        ("layer_kind", _TEXT),
        ("depth", _FLOAT),
        *_BAND,
    ]
)
TRAJECTORIES = pa.schema(
    [
        *_CURVE,
        ("over", _TEXT),
        ("layers", _TEXT),
        *_WHEN,
        *_BAND,
    ]
)
PHASES = pa.schema(
    [
        *_CURVE,
        ("over", _TEXT),
        ("layers", _TEXT),
        ("n_checkpoints", _INT),
        ("first_step", _INT),
        ("first", _FLOAT),
        ("peak_step", _INT),
        ("peak_step_low", _INT),
        ("peak_step_high", _INT),
        ("peak", _FLOAT),
        ("last_step", _INT),
        ("last", _FLOAT),
        ("prominence", _FLOAT),
        ("half_width", _FLOAT),
        ("noise", _FLOAT),
        ("noise_source", _TEXT),
        ("p_value", _FLOAT),
        ("verdict", _TEXT),
    ]
)
SHAPES = pa.schema(
    [
        *_CURVE,
        *_WHEN,
        ("n_documents", _INT),
        ("document_length", _INT),
        ("shape", _TEXT),
        *((f"{name}{end}", _FLOAT) for name in MEASURES for end in ("", "_low", "_high")),
    ]
)
COMPARISON = pa.schema(
    [
        ("run", _TEXT),
        ("metric", _TEXT),
        ("layer", _INT),
        ("theirs", _FLOAT),
        ("tolerance", _FLOAT),
        ("ours", _FLOAT),
        ("ours_low", _FLOAT),
        ("ours_high", _FLOAT),
        ("n_points", _INT),
        ("verdict", _TEXT),
    ]
)
DISTANCES = pa.schema(
    [
        *_CURVE,
        *_WHEN,
        ("n_documents", _INT),
        ("document_length", _INT),
        ("to", _TEXT),
        ("n_runs", _INT),
        ("value", _FLOAT),
        ("low", _FLOAT),
        ("high", _FLOAT),
    ]
)
#: Runs whose loss was logged, and the first onset of an explosion.
SPIKES = pa.schema(
    [
        ("suite", _TEXT),
        ("run", _TEXT),
        ("n_losses", _INT),
        ("first_step", _INT),
        ("last_step", _INT),
        ("onset", _INT),
        ("loss", _FLOAT),
        ("before", _FLOAT),
    ]
)
#: Change of signals before an onset, beside stable runs at the same steps.
APPROACHES = pa.schema(
    [
        ("suite", _TEXT),
        ("metric", _TEXT),
        ("layer", _INT),
        ("k", _INT),
        ("kind", _TEXT),
        ("lead", _INT),
        ("n_runs", _INT),
        ("relative", pa.bool_()),
        ("value", _FLOAT),
        ("low", _FLOAT),
        ("high", _FLOAT),
    ]
)
#: Scores of signals as warnings.
WARNINGS = pa.schema(
    [
        ("suite", _TEXT),
        ("level", _TEXT),
        ("family", _TEXT),
        ("metric", _TEXT),
        ("layer", _INT),
        ("k", _INT),
        ("n_unstable", _INT),
        ("n_stable", _INT),
        ("rate", _FLOAT),
        ("horizon", _INT),
        ("interval", _INT),
        ("threshold", _FLOAT),
        ("detection", _FLOAT),
        ("detection_low", _FLOAT),
        ("detection_high", _FLOAT),
        ("chance", _FLOAT),
        ("false_alarms", _FLOAT),
        ("early_alarms", _FLOAT),
        ("lead", _FLOAT),
        ("lead_low", _FLOAT),
        ("lead_high", _FLOAT),
        ("resolved", pa.bool_()),
        ("behind", _FLOAT),
        ("behind_low", _FLOAT),
        ("behind_high", _FLOAT),
    ]
)


#: The largest whole number that a column can hold.
LARGEST = 2**63 - 1


#: File with the readings of a training run, in the folder of its checkpoints.
PROBE_FILE = "probe.parquet"
