"""The plan: which jobs a sweep needs, what each depends on, and what it costs.

In: the configuration, listings and manifests, and the state of the results folder.
Out: names of outputs with fingerprints, batches, and estimates of time, memory and disk.
Imported by: the Snakefile, geometry (fingerprints), cli.
"""
