"""Matinee: a movie catalogue service that its owner runs.

The rooms and who may import whom are drawn in docs/architecture.md and kept by import-linter.
"""

__version__ = "0.1.0"
