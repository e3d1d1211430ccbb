"""The real API server, and a registry with a champion and a candidate of one model."""

import shutil

import pytest

from components.shared.release.registry import Registry
from tests.cluster.api_server import api_server, cluster, training_runtime  # noqa: F401
from tests.cluster.platform.fixture import platform  # noqa: F401
from tests.cluster.shelves import two_versions


@pytest.fixture(scope="session")
def registered_versions(tmp_path_factory):
    """(registry folder, champion, candidate); copy it before writing."""
    root, one, two = two_versions(tmp_path_factory.mktemp("shelves"))
    Registry(root).promote("handmade", one)
    return root, one, two


@pytest.fixture
def registry_copy(registered_versions, tmp_path):
    """(registry folder, candidate with equal answers): a copy that a test may change."""
    shutil.copytree(registered_versions[0], tmp_path / "registry")
    return tmp_path / "registry", registered_versions[2]
