"""Processes and ports: the server's own, and those of a cluster on this machine.

It knows no movie and imports no other room but errors.

Called by cli.
"""
