"""From a probability to a decision: calibrated, cut, doubted, and counted up for a person.

Everything is fitted on some cells of a prediction table and judged on others.
"""
