"""Causal sequence encoders on jagged or padded tokens."""
