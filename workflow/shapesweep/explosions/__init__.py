"""Loss explosions: where a loss explodes, what its run did before, and whether anything warned.

In: the losses and signals that were recorded while runs were trained.
Out: onsets, signals, and scores of warnings with their intervals.
Imported by: training, figures, report, cli; only `snakemake spikes` uses the scores.
"""
