"""Activations: run checkpoints on the corpora, and keep their hidden states and losses.

In: a checkpoint's files, its tokenizer and the settings of a measurement.
Out: Parquet shards of hidden states, losses by document, and dimension budgets.
Imported by: plan (versions), geometry, cli.
"""
