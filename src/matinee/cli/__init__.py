"""The `matinee` command: one file a noun. It puts the other rooms to work and holds no rule of its own.

Each command imports what it needs when it runs, so that `--help` does not wait for Django. Exit codes: 0 done; 1 done, and
something is wrong with what was looked at or read; 2 the command could not run as things are, and says what to do.
"""
