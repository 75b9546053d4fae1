"""Several models on the same cells: whether one is ahead by more than the draw of cells gives.

Figures come with the interval that resampling subjects gives, and pairs of models with tests that
are corrected for their number.
"""
