"""Fixtures with a shop on the platform: a namespace whose champion serves, and versions to roll out."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from components.shared.release.registry import Registry
from components.shared.release.signing import load_or_create_key
from tests.cluster.namespaces import Namespace
from tests.cluster.rollout_shop import Shop
from tests.cluster.shelves import two_versions


@pytest.fixture(scope="session")
def registered(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str, str]:
    """(folder with registry and keys, champion, candidate with equal answers); copied before it is written."""
    folder = tmp_path_factory.mktemp("registered")
    _, one, two = two_versions(folder)
    return folder, one, two


@pytest.fixture
def empty_shop(node, service_names, registered, tmp_path) -> Iterator[Shop]:
    """A namespace where nothing is deployed yet."""
    folder, _, _ = registered
    shutil.copytree(folder, tmp_path / "volume")
    namespace = Namespace(node, tmp_path / "volume", folder / "key.pem.pub", tmp_path / "work")
    try:
        yield Shop(namespace)
    finally:
        namespace.remove()


@pytest.fixture
def shop(empty_shop, registered) -> Shop:
    """A shop whose champion serves."""
    empty_shop.deploy(registered[1])
    return empty_shop


def signed_by_another(root: Path, candidate: str) -> str:
    """Register a version that the predictors' key did not sign, so that they end at their start."""
    from components.shared.release.bundle import BundleFacts, sign, write_manifest
    from serving.tests.handmade import AS_OF

    folder = root.parent / "foreign"
    shutil.copytree(Registry(root).resolve(f"handmade/{candidate}"), folder)
    (folder / "licences.json").write_text('{"foreign": true}\n')
    write_manifest(
        folder, BundleFacts(name="handmade", as_of=AS_OF, schema_hash="x", tasks=("purchase_again", "purchase_first"))
    )
    sign(folder, load_or_create_key(root.parent / "other.pem"))
    return Registry(root).add(folder)
