"""Pure functions that estimate numbers and their uncertainty from arrays.

Input: arrays of points, spectra, distances or curves.
Output: numbers, their jackknife replicates, and results of tests.
Imported by: every package that computes. This package imports no other package of shapesweep.
"""
