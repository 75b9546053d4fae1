"""Measure robustness: how far metrics fall under perturbations, and the out-of-distribution flag."""
