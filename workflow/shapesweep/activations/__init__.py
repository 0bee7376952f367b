"""Run checkpoints on the corpora, and store their hidden states and losses.

Input: a checkpoint's files, its tokenizer and the settings of a measurement.
Output: Parquet shards of hidden states, losses by document, and dimension budgets.
Imported by: plan (versions), geometry, cli.
"""
