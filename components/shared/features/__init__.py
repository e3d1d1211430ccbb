"""The one path from events and requests to model inputs: feature spec, encoders, statistics."""
