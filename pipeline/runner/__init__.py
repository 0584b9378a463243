"""Command line, session and warm worker."""
