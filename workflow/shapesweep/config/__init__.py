"""The configuration of a sweep: the models that validate it, and the registry of suites.

Input: YAML files and values of the command line.
Output: validated `Config`, suites and `Measurement` (the settings with which a job measures).
Imported by: every package that needs a setting. Imports only corpora, errors, storage, validation.
"""
