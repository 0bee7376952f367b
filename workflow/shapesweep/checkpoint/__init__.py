"""Checkpoints on this machine: inspect their files, and load a model with verified weights.

Input: a folder in Hugging Face format.
Output: facts from its configuration, a verified model, its blocks, and a sample of its weights.
Imported by: hub, manifest, training, activations, curves, plan, geometry, cli.
"""
