"""The report: what a sweep has found, as text and as a page.

In: the curves, the tables and the figures of a sweep.
Out: `summary.txt`, `comparison.md`, `warnings.md` and `report.html`.
Imported by: cli.
"""
