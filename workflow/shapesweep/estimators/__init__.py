"""The two microscopes and their uncertainty: pure functions on arrays."""
