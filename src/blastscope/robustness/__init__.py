"""How far a network's figures fall as pictures change, and whether it knows what is no cell."""
