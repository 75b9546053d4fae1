"""Cells: their names and subjects, reading a data set, checking it, synthetic cells."""
