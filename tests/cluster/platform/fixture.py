"""The platform as a fixture of pytest; one for all workers and runs of a checkout."""

import os
from collections.abc import Iterator

import pytest

from tests.cluster.platform.client import Platform, Unavailable, node_possible, running


@pytest.fixture(scope="session")
def platform() -> Iterator[Platform]:
    """The running platform; skipped with a reason where it cannot run."""
    # Else requests to the cluster would go to a proxy of the machine.
    os.environ["NO_PROXY"] = ",".join(filter(None, (os.environ.get("NO_PROXY"), "10.0.0.0/8,127.0.0.1")))
    try:
        with running() as found:
            yield found
    except Unavailable as error:
        if "did not start" in str(error):
            raise
        pytest.skip(f"no Kubernetes for tests: {error}")


@pytest.fixture(scope="session")
def node(platform: Platform) -> Platform:
    """The platform with pods; skipped with a reason where none run."""
    if not platform.has_node:
        pytest.skip(f"no pods: {node_possible()}")
    return platform
