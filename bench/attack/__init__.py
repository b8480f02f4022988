"""Attacks on a running server of this machine, each bounded in number and time: `scripts/attack`.

It checks what docs/security.md promises: bad input causes no 5xx, nothing acknowledged is lost, memory and log stay within
their limits, and other clients are still served. It refuses any address that is not loopback. The service never imports it.
"""
