"""Analyse errors: how often models err together, and what missed cells have in common."""
