"""The C-NMC 2019 challenge: what its server takes, and scoring the same against labels here."""
