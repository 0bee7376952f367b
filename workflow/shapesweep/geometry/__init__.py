"""Geometry: measure the clouds of hidden states, of checkpoints and of users' own files.

In: shards of hidden states, or a cloud in a file.
Out: tables of metrics with their replicates, for a batch of checkpoints or one cloud.
Imported by: cli.
"""
