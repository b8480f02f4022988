"""The service on the wire: the ASGI front, the API, the admin's mount, health, metrics, problems, documentation.

Called by the server, which imports asgi.py by name, and by `matinee get` and `matinee openapi`. Handlers parse, call read or
write, and answer bytes; they hold no rule about movies.
"""
