"""The real API server, and a registry with two servable versions of one model."""

import shutil

import pytest

from components.shared.bundle import BundleFacts, sign, write_manifest
from components.shared.registry import Registry
from components.shared.signing import load_or_create_key
from serving.tests.handmade import AS_OF, write_bundle
from tests.cluster.api_server import api_server, cluster  # noqa: F401


@pytest.fixture(scope="session")
def shelves(tmp_path_factory):
    """(registry folder, champion, candidate); copy it before writing."""
    folder = tmp_path_factory.mktemp("shelves")
    bundle = write_bundle(folder / "one", folder / "key.pem")
    shutil.copytree(bundle, folder / "two")
    (folder / "two" / "licences.json").write_text('{"second": true}\n')
    facts = BundleFacts(name="handmade", as_of=AS_OF, schema_hash="x", tasks=("purchase_again", "purchase_first"))
    write_manifest(folder / "two", facts)
    sign(folder / "two", load_or_create_key(folder / "key.pem"))
    registry = Registry(folder / "registry")
    one, two = registry.add(bundle), registry.add(folder / "two")
    registry.promote("handmade", one)
    return folder / "registry", one, two
