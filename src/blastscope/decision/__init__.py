"""From a probability to a decision: calibration, operating point, referral, share of blasts.

Everything is fitted on some cells of a prediction table and assessed on others.
"""
