"""The manifest of a suite: its checkpoints, their defects, and which of them are chosen.

Input: the definition of a suite, listings from the Hub, folders of runs, and logs of training runs.
Output: for each suite, a table of checkpoints with their files, and a table of logged values.
Imported by: plan, cli.
"""
