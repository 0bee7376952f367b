"""Training of small models on this machine, and probes that measure models during training.

In: the recipe of a run, or a user's own model in training.
Out: checkpoints in Hugging Face format, and `probe.parquet`.
Imported by: manifest (names of files), cli, and users' own training scripts.
"""
