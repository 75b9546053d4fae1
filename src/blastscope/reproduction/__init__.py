"""All experiments of the paper, planned, run and reported."""
