"""Causal sequence encoders on jagged tokens, the tied item tower, and the retriever that they make together."""
