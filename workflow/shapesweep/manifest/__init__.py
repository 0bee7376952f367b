"""The manifest: which checkpoints a suite has, which checkpoints are chosen, and their defects.

Input: the definition of a suite, listings of the Hub, folders, and logs of training runs.
Output: for each suite, a table of checkpoints with their files, and a table of recorded signals.
Imported by: plan, cli.
"""
