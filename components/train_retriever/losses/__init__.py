"""Losses of the retriever, negative samplers, and the items that a training step needs for them."""
