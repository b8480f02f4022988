"""The admin's pages: Django's admin with unfold, every save through the write room. Django finds it by name from settings."""
