"""Measure robustness: how far metrics fall under perturbations, and the OOD flag."""
