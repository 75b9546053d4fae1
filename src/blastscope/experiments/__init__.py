"""Cross-validation: every cell predicted once, by a network that saw nothing of its subject."""
