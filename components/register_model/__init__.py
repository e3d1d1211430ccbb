"""Stage: a compiled model becomes a signed bundle and a version in the registry."""
