"""Exports a text encoder for the search."""
