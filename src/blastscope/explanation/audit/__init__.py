"""Audit on a whole split part whether explanations can be believed."""
