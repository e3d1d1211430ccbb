"""The real API server, and the outputs of the training stages."""

from components.conftest import tiny_run  # noqa: F401
from tests.cluster.api_server import api_server, cluster  # noqa: F401
