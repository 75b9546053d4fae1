"""Floors: what can be had without any network, to stand beside every model."""
