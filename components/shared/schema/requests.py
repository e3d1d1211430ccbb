"""Limits of a request that the predictor and its clients know."""

MAX_K = 500
"""Maximum number of items in one answer."""
