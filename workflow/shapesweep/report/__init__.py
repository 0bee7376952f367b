"""The report on the results of a sweep, as text and as an HTML page.

Input: the curves, the tables and the figures of a sweep.
Output: `summary.txt`, `comparison.md`, `warnings.md` and `report.html`.
Imported by: cli.
"""
