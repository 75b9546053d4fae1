"""Search for settings of a recipe by their score on subjects that a network was not trained on."""
