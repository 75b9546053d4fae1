"""Explain what networks see: feature maps, attributions, and how far these can be believed."""
