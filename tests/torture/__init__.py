"""Tests that try to break it; `make torture` runs them at full length."""
