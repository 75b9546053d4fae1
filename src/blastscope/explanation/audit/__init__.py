"""Whether maps are to be believed, measured on a whole part of a split and summed up."""
