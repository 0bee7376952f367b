"""Checkpoints on this machine: which files they have, and a model whose weights are verified.

In: a folder in Hugging Face format.
Out: facts of its configuration, a verified model, its blocks, and a sample of its weights.
Imported by: hub, manifest, training, activations, curves, plan, geometry, cli.
"""
