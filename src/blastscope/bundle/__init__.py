"""Models that travel: everything that a prediction needs, in one folder or zip, without code."""
