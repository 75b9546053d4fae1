"""Finished runs and ensembles, applied to images that they have not seen."""
