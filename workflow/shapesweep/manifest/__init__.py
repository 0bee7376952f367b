"""The manifest of a suite: all checkpoints, which of them are chosen, and known defects.

Input: the definition of a suite, listings of the Hub, folders, and logs of training runs.
Output: for each suite, a table of checkpoints with their files, and a table of logged values.
Imported by: plan, cli.
"""
