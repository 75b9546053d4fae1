"""Whether a picture looks like the cells that a network was trained on, or like no cell at all."""
