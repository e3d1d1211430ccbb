"""A registry with two servable versions of one small model."""

import shutil
from pathlib import Path

from components.shared.release.bundle import BundleFacts, sign, write_manifest
from components.shared.release.registry import Registry
from components.shared.release.signing import load_or_create_key
from serving.tests.handmade import AS_OF, write_bundle


def two_versions(folder: Path) -> tuple[Path, str, str]:
    """(registry folder, first version, second version); both answer alike; copy before writing."""
    bundle = write_bundle(folder / "one", folder / "key.pem")
    shutil.copytree(bundle, folder / "two")
    (folder / "two" / "licences.json").write_text('{"second": true}\n')
    facts = BundleFacts(name="handmade", as_of=AS_OF, schema_hash="x", tasks=("purchase_again", "purchase_first"))
    write_manifest(folder / "two", facts)
    sign(folder / "two", load_or_create_key(folder / "key.pem"))
    registry = Registry(folder / "registry")
    return folder / "registry", registry.add(bundle), registry.add(folder / "two")
