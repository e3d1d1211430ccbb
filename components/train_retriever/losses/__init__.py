"""What the retriever learns by: losses, negatives and what a training step asks of the item tower for them."""
