"""Benchmarks of Matinee: run by people from the root of the repository, never imported by the service."""
