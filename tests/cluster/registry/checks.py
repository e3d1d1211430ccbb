"""What must hold for a registry in an object store, and its objects without the registry's own code."""

import itertools
import json
import shutil

import botocore.session

from components.shared.errors import BundleError
from components.shared.release.bundle import verify
from components.shared.release.signing import load_public_key


def client():
    return botocore.session.get_session().create_client("s3")


def keys(registry):
    bucket, _, prefix = registry.root.removeprefix("s3://").partition("/")
    listed = client().list_objects_v2(Bucket=bucket, Prefix=f"{prefix}/").get("Contents", [])
    return [one["Key"].removeprefix(f"{prefix}/") for one in listed]


def put(registry, key, content):
    bucket, _, prefix = registry.root.removeprefix("s3://").partition("/")
    client().put_object(Bucket=bucket, Key=f"{prefix}/{key}", Body=content)


def check_consistent(registry, tmp_path):
    """Every version is whole, aliases name versions, the chain is unbroken and ends where the aliases are."""
    versions = registry.versions("shop")
    for version in versions:
        shutil.rmtree(tmp_path / "cache", ignore_errors=True)
        # Manifest and signature belong together, whoever won.
        bundle = registry.resolve(f"shop/{version}")
        signer = json.loads((bundle / "bundle.sig").read_text())["public_key_sha256"]
        publics = [load_public_key(path) for path in tmp_path.glob("*.pub")]
        assert any(_signed(bundle, key) for key in publics), signer
    log, aliases = registry.audit("shop"), registry.aliases("shop")
    log.verify()
    assert set(aliases.values()) <= set(versions)
    moved = [entry for entry in log.entries() if entry["action"] in ("promote", "rollback")]
    for before, after in itertools.pairwise(moved):
        assert after["replaced"] == before["version"]
    return moved


def _signed(bundle, key):
    try:
        return bool(verify(bundle, key))
    except BundleError:
        return False
