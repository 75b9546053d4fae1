"""Records of runs in a tracking server, made from the folders that runs write."""
