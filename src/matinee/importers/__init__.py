"""Read files of other shapes into records for the write path, and write the catalogue out again.

Called by cli. An importer never writes a row itself; it yields records, and importing.py hands them on in batches.
"""
