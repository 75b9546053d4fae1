"""From a table of predictions to metrics that say how far to trust them.

Nothing here needs the model: a table that any program wrote is judged by the same rules as a run.
"""
