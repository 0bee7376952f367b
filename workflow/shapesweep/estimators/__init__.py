"""Pure functions that estimate numbers from arrays, and the uncertainty of these numbers.

Input: arrays of points, spectra, distances or curves.
Output: numbers, their jackknife replicates, and results of tests.
Imported by: every package that computes. This package imports no other package of shapesweep.
"""
