"""Everything that knows how the catalogue lies on disk: the Django app, the leader's writer, the readers, the named SQL.

Called by read (readers) and write (writer). No other room opens a connection.
"""
