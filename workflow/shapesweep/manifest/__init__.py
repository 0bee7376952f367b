"""The manifest: which checkpoints a suite has, which are chosen, and what is wrong with any.

In: the definition of a suite, listings of the Hub, folders, and logs of training runs.
Out: one table of checkpoints with their files for each suite, and one of recorded signals.
Imported by: plan, cli.
"""
