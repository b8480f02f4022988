"""Processes and ports: the server's processes today, a cluster's in a later version.

It knows no movie and imports no other room but errors.

Called by cli.
"""
