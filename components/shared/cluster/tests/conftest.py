"""Fixtures of the real API server."""

from tests.cluster.api_server import api_server, cluster  # noqa: F401
