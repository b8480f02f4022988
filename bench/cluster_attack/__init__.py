"""Attempts of an unprivileged user against every port of a running cluster: `scripts/attack-cluster`.

`attempts.py` says what is tried on which port, `wire.py` sends it. Nothing here changes a cluster that refuses, and what
succeeds is harmless: keys of its own that it deletes again, and a restart under a condition that is never met.
"""
