"""Recipes: what to train and how, as YAML that says everything and is checked on reading."""
