"""The read path: what happens on a GET. Async only; it knows readers by their protocol and never the writer.

Called by http and by `matinee get`. A later tier (a cache) stands between `Catalogue` and the reader, in its own room.
"""
