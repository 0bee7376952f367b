"""Storage: what steps write for each other, atomically and with checksums.

In: tables, shards, manifests and failures in memory.
Out: files that are either complete or absent, and readers that refuse damaged ones.
Imported by: every package above estimators.
"""
