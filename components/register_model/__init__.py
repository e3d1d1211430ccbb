"""Stage: build a signed bundle from a compiled model and register it as a version."""
