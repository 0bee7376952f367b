"""Breaks: where a run's weights are no continuation of those before them."""
