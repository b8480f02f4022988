"""Django's backend of the leader; Django looks for `base` in it. Named in settings."""
