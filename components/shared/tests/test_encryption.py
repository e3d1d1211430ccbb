"""Encryption: KServe's own storage initializer can decrypt a bundle, and every changed byte is refused."""

import json
import shutil

import pytest

from components.shared.errors import BundleError, InputError
from components.shared.release.bundle import BundleFacts, sign, verify, write_manifest
from components.shared.release.encryption import create_key, decrypt, encrypt, load_key
from components.shared.release.signing import load_or_create_key


@pytest.fixture
def bundle(tmp_path):
    folder = tmp_path / "bundle"
    (folder / "ranker").mkdir(parents=True)
    (folder / "ranker" / "ranker.onnx").write_bytes(bytes(range(256)) * 5000)
    (folder / "empty").write_bytes(b"")
    (folder / "燕麦.json").write_text("{}")
    write_manifest(folder, BundleFacts(name="shop", as_of=1_700_000_000, schema_hash="x"))
    sign(folder, load_or_create_key(tmp_path / "key.pem"))
    return folder


@pytest.fixture
def key(tmp_path):
    return create_key(tmp_path / "bundle.jwk")


def test_decrypted_bundle_equals_the_signed_original(bundle, key, tmp_path):
    assert encrypt(bundle, tmp_path / "encrypted", key) == 5
    for path in (tmp_path / "encrypted").rglob("*"):
        assert path.is_dir() or path.name == "empty" or (path.suffix == ".jwe" and path.read_text().startswith("eyJ"))
    assert decrypt(tmp_path / "encrypted", tmp_path / "back", load_key(tmp_path / "bundle.jwk")) == 5
    signer = load_or_create_key(tmp_path / "key.pem").public_key()
    assert verify(tmp_path / "back", signer) == verify(bundle, signer)


def test_kserve_storage_initializer_decrypts_a_bundle(bundle, key, tmp_path):
    """Runs KServe's own code if its package is installed; the Secret holds the content of the key file."""
    confidential = pytest.importorskip("kserve_storage.confidential", reason="no kserve-storage (tests only)")
    encrypt(bundle, tmp_path / "model", key)
    text = (tmp_path / "bundle.jwk").read_bytes()

    class Secret:
        def resolve_key(self, resource_id):
            assert resource_id == "kbs:///shop/bundle/1"
            return text

    decrypted = confidential.JWEDecryptor(Secret(), "kbs:///shop/bundle/1").decrypt_directory(tmp_path / "model")
    assert len(decrypted) == 4
    verify(tmp_path / "model", load_or_create_key(tmp_path / "key.pem").public_key())


def test_other_keys_changed_bytes_and_plain_files_are_refused(bundle, key, tmp_path):
    encrypt(bundle, tmp_path / "encrypted", key)
    with pytest.raises(BundleError, match="cannot be decrypted"):
        decrypt(tmp_path / "encrypted", tmp_path / "back", create_key(tmp_path / "other.jwk"))
    victim = tmp_path / "encrypted" / "ranker" / "ranker.onnx.jwe"
    text = victim.read_text()
    victim.write_text(text[:-30] + ("A" if text[-30] != "A" else "B") + text[-29:])
    with pytest.raises(BundleError, match=r"ranker\.onnx\.jwe cannot be decrypted"):
        decrypt(tmp_path / "encrypted", tmp_path / "back", key)
    assert not (tmp_path / "back").exists()
    victim.write_text("no token")
    with pytest.raises(BundleError, match="cannot be decrypted"):
        decrypt(tmp_path / "encrypted", tmp_path / "back", key)
    shutil.copy(bundle / "bundle.json", tmp_path / "encrypted" / "plain")
    victim.unlink()
    with pytest.raises(BundleError, match="plain is not encrypted"):
        decrypt(tmp_path / "encrypted", tmp_path / "back", key)


def test_key_files_are_private_and_validated(tmp_path, key):
    path = tmp_path / "bundle.jwk"
    assert path.stat().st_mode & 0o777 == 0o600 and json.loads(path.read_text())["kty"] == "oct"
    with pytest.raises(InputError, match="exists"):
        create_key(path)
    path.write_text('{"kty": "oct", "k": "AAAA"}')
    with pytest.raises(InputError, match="24 bits, not 256"):
        load_key(path)
    path.write_text("{}")
    with pytest.raises(InputError, match="is not a symmetric JWK"):
        load_key(path)
    with pytest.raises(InputError, match="cannot read the key"):
        load_key(tmp_path / "none")
