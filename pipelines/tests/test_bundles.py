"""The commands `shoprank bundle`, `audit`, `promote` and `rollback`."""

import json

import pytest

from components.shared.release.bundle import BundleFacts, sign, write_manifest
from components.shared.release.registry import Registry
from components.shared.release.signing import load_or_create_key


@pytest.fixture
def bundle(tmp_path):
    folder = tmp_path / "bundle"
    folder.mkdir()
    (folder / "model.bin").write_text("weights")
    write_manifest(folder, BundleFacts(name="shop", as_of=1_700_000_000, schema_hash="x"))
    sign(folder, load_or_create_key(tmp_path / "key.pem"))
    return folder


def test_bundle_is_encrypted_and_decrypted(shoprank, bundle, tmp_path):
    key = tmp_path / "k.jwk"
    assert shoprank("bundle", "key", key).code == 0
    done = shoprank("bundle", "encrypt", bundle, tmp_path / "e", "--key", key)
    assert (done.code, done.out) == (0, f"{tmp_path}/e: 3 files\n")
    done = shoprank("bundle", "decrypt", tmp_path / "e", tmp_path / "back", "--key", key)
    assert done.code == 0 and "3 files, version 20231114-" in done.out
    done = shoprank("bundle", "encrypt", tmp_path / "e", tmp_path / "e2", "--key", key)
    assert done.code == 1 and "bundle.json is missing" in done.err


def test_bundle_is_written_as_an_oci_image(shoprank, bundle, tmp_path):
    done = shoprank("bundle", "oci", bundle, tmp_path / "image")
    assert done.code == 0 and "sha256:" in done.out and (tmp_path / "image" / "oci-layout").exists()


@pytest.fixture
def registry(bundle, tmp_path):
    registry = Registry(tmp_path / "registry")
    registry.promote("shop", registry.add(bundle))
    return registry


def test_the_audit_log_is_printed_and_verified(shoprank, registry, tmp_path):
    version = registry.aliases("shop")["champion"]
    assert shoprank("audit", "verify", "--out", tmp_path).out == "2 lines verified\n"
    assert json.loads(shoprank("audit", "verify", "--out", tmp_path, "--json").out) == {"lines": 2}
    done = shoprank("audit", "log", "--out", tmp_path)
    assert done.code == 0 and f"promote version={version}" in done.out and len(done.out.splitlines()) == 2
    entries = json.loads(shoprank("audit", "log", "--out", tmp_path, "--json").out)
    assert [entry["action"] for entry in entries][-1] == "promote" and entries[-1]["version"] == version
    log = registry.audit("shop").location
    log.write_text(log.read_text().replace("promote", "demoted"))
    done = shoprank("audit", "verify", "--out", tmp_path)
    assert done.code == 1 and "line 2 was changed" in done.err
    assert shoprank("audit", "verify", "--out", tmp_path / "none").code == 2


def test_version_is_promoted_and_the_previous_one_restored(shoprank, registry, tmp_path):
    first = registry.aliases("shop")["champion"]
    other = tmp_path / "other"
    other.mkdir()
    (other / "model.bin").write_text("other weights")
    write_manifest(other, BundleFacts(name="shop", as_of=1_700_000_000, schema_hash="x"))
    sign(other, load_or_create_key(tmp_path / "key.pem"))
    second = registry.add(other)
    registry.set_alias("shop", "candidate", second)
    assert shoprank("promote", "--out", tmp_path).out == f"champion is {second}\n", "the candidate by default"
    assert json.loads(shoprank("rollback", "--out", tmp_path, "--json").out)["champion"] == first
    assert json.loads(shoprank("promote", second, "--out", tmp_path, "--json").out) == {"champion": second}
    done = shoprank("promote", "v9", "--out", tmp_path)
    assert done.code == 1 and "v9" in done.err and second in done.err


def test_old_versions_are_listed_and_then_removed(shoprank, registry, tmp_path):
    first = registry.aliases("shop")["champion"]
    versions = []
    for number in range(3):
        other = tmp_path / f"other-{number}"
        other.mkdir()
        (other / "model.bin").write_text(f"other weights {number}")
        write_manifest(other, BundleFacts(name="shop", as_of=1_700_000_000, schema_hash="x"))
        sign(other, load_or_create_key(tmp_path / "key.pem"))
        versions.append(registry.add(other))
    done = shoprank("registry", "gc", "--keep", 1, "--out", tmp_path)
    assert done.code == 0 and f"{first} stays: champion" in done.out and "remove them with --apply" in done.out
    assert len(registry.versions("shop")) == 4
    done = json.loads(shoprank("registry", "gc", "--keep", 1, "--apply", "--out", tmp_path, "--json").out)
    assert done["removed"] == versions[:2] and done["kept"] == {first: "champion", versions[2]: "newest"}
    assert registry.versions("shop") == sorted([first, versions[2]])
    assert shoprank("audit", "verify", "--registry", tmp_path / "registry").out == "7 lines verified\n"
    assert shoprank("registry", "gc", "--keep", 0, "--out", tmp_path).code == 2
