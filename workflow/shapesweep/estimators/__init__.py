"""Estimators: pure functions on arrays, with their uncertainty.

In: arrays of points, spectra, distances or curves.
Out: numbers, their jackknife replicates and tests.
Imported by: every package that computes; imports no other package.
"""
