"""Kubeflow Pipelines runs steps with umask 0: nothing that others read or trust is written for all to change."""

import multiprocessing
import os
import stat

import pytest

from components.shared.release.bundle import BundleFacts, sign, write_manifest
from components.shared.release.encryption import create_key as create_encryption_key
from components.shared.release.registry import Registry
from components.shared.release.signing import create_key, load_key
from components.shared.storage import write_json


def _run(root):
    os.umask(0)
    create_key(root / "keys" / "signing.pem")
    create_encryption_key(root / "keys" / "encryption.jwk")
    bundle = root / "bundle"
    bundle.mkdir()
    (bundle / "sub").mkdir()
    (bundle / "sub" / "model.bin").write_text("weights")
    write_manifest(bundle, BundleFacts(name="shop", as_of=1_700_000_000, schema_hash="x"))
    sign(bundle, load_key(root / "keys" / "signing.pem"))
    registry = Registry(root / "registry")
    version = registry.add(bundle)
    registry.set_alias("shop", "candidate", version)
    registry.promote("shop", version)
    registry.save_rollout("shop", {"candidate": version})
    registry.attach("shop", version, bundle / "sub", "first")
    write_json(root / "keys" / "options.json", {})


@pytest.fixture
def written(tmp_path):
    child = multiprocessing.get_context("spawn").Process(target=_run, args=(tmp_path,))
    child.start()
    child.join()
    assert child.exitcode == 0
    return tmp_path


def _mode(path):
    return stat.S_IMODE(path.stat().st_mode)


def test_files_and_folders_of_a_registry_are_changed_by_their_owner_only(written):
    found = {path.relative_to(written): _mode(path) for path in (written / "registry", *written.rglob("registry/**/*"))}
    assert len(found) > 12
    assert {path: oct(mode) for path, mode in found.items() if mode not in (0o755, 0o644)} == {}


def test_keys_are_read_by_their_owner_only_and_public_keys_changed_by_him_only(written):
    modes = {path.name: oct(_mode(path)) for path in (written / "keys").iterdir()}
    assert modes == {"signing.pem": "0o600", "encryption.jwk": "0o600", "signing.pem.pub": "0o644",
                     "options.json": "0o644"}  # fmt: skip
    assert _mode(written / "keys") == 0o755
