"""Learns the relevance model of a search."""
