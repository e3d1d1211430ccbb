"""Measures a search against judgments, clicks or an earlier version, without events or training."""
