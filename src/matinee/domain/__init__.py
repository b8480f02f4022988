"""What a movie, a query, a cursor and a representation are. Pure: no framework, no driver, no I/O.

Everybody may import from here; this room imports only errors.
"""
