"""Ranking metrics and the release decision."""
