"""The plan: which jobs a sweep needs, what each job depends on, and what the sweep costs.

Input: the configuration, listings and manifests, and the state of the results folder.
Output: batches, names of outputs (with fingerprints), and estimates of time, memory and disk.
Imported by: the Snakefile, geometry (fingerprints), cli.
"""
