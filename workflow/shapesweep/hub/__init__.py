"""The Hugging Face Hub: list what a suite has published, and download it within a disk limit.

In: the definition of a suite, and repositories on the Hub.
Out: listings, checkpoints with their steps and tokens, and downloaded files.
Imported by: manifest, plan, cli.
"""
