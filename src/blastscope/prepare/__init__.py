"""From image files to the store: find the cell, crop, CLAHE, resize, write."""
