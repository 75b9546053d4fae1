"""Splits: which cells train, which choose, which test, and whether subjects overlap."""
