"""Adapt a bundle to a laboratory's own labelled cells: calibration, threshold, last layer."""
