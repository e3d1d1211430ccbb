"""Stage: validate ingested data and compute its statistics."""
