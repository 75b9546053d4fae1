"""Whether a picture is like anything that a network was trained on, by its own features."""
