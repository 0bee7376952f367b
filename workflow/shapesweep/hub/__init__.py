"""The Hugging Face Hub: list the checkpoints of suites, and download them within a disk limit.

Input: the definition of a suite, and repositories on the Hub.
Output: listings, checkpoints with their steps and tokens, and downloaded files.
Imported by: manifest, plan, cli.
"""
