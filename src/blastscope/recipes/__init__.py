"""Recipes: YAML files that describe what to train and how."""
