"""Loss explosions: when a loss explodes, and whether any signal of the run warned of it.

Input: the losses and signals that were recorded while runs were trained.
Output: onsets, signals, and scores of warnings with their intervals.
Imported by: training, figures, report, cli; only `snakemake spikes` uses the scores.
"""
