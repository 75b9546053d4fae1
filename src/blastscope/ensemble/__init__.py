"""Several models as one: how their probabilities are combined, and how weights are found."""
