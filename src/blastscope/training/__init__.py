"""Training: batches from the store, balancing, augmentation, the Lightning module, the run."""
