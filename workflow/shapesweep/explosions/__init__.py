"""Find when losses explode, and score how well the signals of a run warn of an explosion.

Input: the losses and signals that were recorded while runs were trained.
Output: onsets, signals, and scores of warnings with their intervals.
Imported by: training, figures, report, cli; only `snakemake spikes` uses the scores.
"""
