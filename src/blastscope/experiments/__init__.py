"""Experiments of several trainings: cross-validation and several seeds, by one runner."""
