"""Bundles: a model in one folder or zip that holds all that a prediction needs, and no code."""
