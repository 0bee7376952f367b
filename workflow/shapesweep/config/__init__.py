"""The configuration of a sweep: the models that validate it, and the registry of suites.

In: YAML files and values of the command line.
Out: validated `Config`, suites and `Measurement` (what a job needs to know to measure).
Imported by: every package that needs a setting; imports corpora, storage and validation only.
"""
