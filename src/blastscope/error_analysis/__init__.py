"""What models get wrong: how often together, and what those cells have in common."""
