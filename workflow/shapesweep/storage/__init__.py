"""Read and write the files that steps exchange, atomically and with checksums.

Input: tables, shards, manifests and failures in memory.
Output: files that are either complete or absent; readers refuse damaged files.
Imported by: validation, and every package except corpora, estimators, metrics and neighbors.
"""
