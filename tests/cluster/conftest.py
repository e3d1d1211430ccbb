"""The real API server, and the outputs of the training stages."""

from components.conftest import quick_starts, real_processes, tiny_run  # noqa: F401
from tests.cluster.api_server import api_server, cluster, training_runtime  # noqa: F401
from tests.cluster.namespaces import service_names  # noqa: F401
from tests.cluster.platform.fixture import node, platform  # noqa: F401
from tests.cluster.shops import empty_shop, registered, shop  # noqa: F401


def pytest_addoption(parser):
    """Add --kube-context; pytest calls this only if tests/cluster is on the command line, as in `make test-cluster`."""
    parser.addoption(
        "--kube-context", default="", help="context of a cluster that has the parts (KServe, Trainer, KFP)"
    )
