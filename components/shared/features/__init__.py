"""Conversion of events and requests to model inputs: feature spec, encoders, statistics."""
