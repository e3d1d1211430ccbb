"""The platform as a fixture of pytest; one for all workers and runs of a checkout."""

import os
from collections.abc import Iterator

import pytest

from tests.cluster.platform.client import Platform, Unavailable, node_possible, running
from tests.cluster.platform.elsewhere import elsewhere, is_given


@pytest.fixture(scope="session")
def platform(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Platform]:
    """The running platform, or the named cluster; skipped with a reason where it cannot run."""
    if is_given(request.config):
        context = request.config.getoption("--kube-context", default="")
        yield elsewhere(str(context), tmp_path_factory.mktemp("cluster"))
        return
    # Else requests to the cluster would go to a proxy of the machine.
    os.environ["NO_PROXY"] = ",".join(filter(None, (os.environ.get("NO_PROXY"), "10.0.0.0/8,127.0.0.1")))
    try:
        with running() as found:
            yield found
    except Unavailable as error:
        if "did not start" in str(error):
            raise
        pytest.skip(f"no Kubernetes for tests: {error}")


def own_only(platform: Platform) -> None:
    """Skip on another cluster: its server is not ours to cut off, its runtimes are not ours to replace."""
    if platform.facts.get("elsewhere"):
        pytest.skip("needs the tests' own platform: --kube-context or KUBECONFIG names another cluster")


@pytest.fixture(scope="session")
def node(platform: Platform) -> Platform:
    """The platform with pods; skipped with a reason where none run."""
    own_only(platform)
    if not platform.has_node:
        pytest.skip(f"no pods: {node_possible()}")
    return platform
