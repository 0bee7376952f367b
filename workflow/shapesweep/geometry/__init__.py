"""Measure clouds of points: hidden states of checkpoints, or points from users' own files.

Input: shards of hidden states, or a cloud in a file.
Output: tables of metrics with their replicates, for a batch of checkpoints or for one cloud.
Imported by: cli.
"""
