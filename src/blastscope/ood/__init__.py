"""Out-of-distribution detection: whether an image looks like the cells of a network's training."""
