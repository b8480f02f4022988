"""The write path: validate, then one transaction on the leader. Sync only; every change of the catalogue comes through here.

Called by http (in a thread), the admin, the importers and cli. It must never use a reader: what it reads, it reads on the
leader, inside its transaction.
"""
