"""Several models as one: how their probabilities are combined, and how the weights are found."""
