"""Train small models on this machine, and measure models during training.

Input: the recipe of a run, or a user's own model during training.
Output: checkpoints in Hugging Face format, and `probe.parquet`.
Imported by: manifest (names of files), cli, and users' own training scripts.
"""
