"""The migrations of the test models."""
