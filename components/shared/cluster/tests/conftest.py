"""The platform, and its API server behind a proxy."""

from tests.cluster.api_server import api_server, cluster, training_runtime  # noqa: F401
from tests.cluster.platform.fixture import node, platform  # noqa: F401
