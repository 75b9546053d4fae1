"""Stain: optical density, and normalization to a reference by Reinhard, Macenko or GCTI-SN."""
