"""Bundles: every modification is refused by name, and key files are private."""

import json
import stat
from concurrent.futures import ProcessPoolExecutor

import pytest

from components.shared.errors import BundleError, InputError
from components.shared.release.bundle import BundleFacts, sign, verify, write_manifest
from components.shared.release.signing import fingerprint, load_or_create_key, load_public_key, public_path

FACTS = BundleFacts(name="shop", as_of=1_700_000_000, schema_hash="abc", tasks=("again",), metrics={"ndcg": 0.5})


@pytest.fixture
def key(tmp_path):
    return load_or_create_key(tmp_path / "keys" / "signing.pem")


@pytest.fixture
def bundle(tmp_path, key):
    folder = tmp_path / "bundle"
    (folder / "ranker").mkdir(parents=True)
    (folder / "items.parquet").write_bytes(b"items" * 1000)
    (folder / "ranker" / "ranker.onnx").write_bytes(b"weights")
    write_manifest(folder, FACTS)
    sign(folder, key)
    return folder


def _rewrite(bundle, change, key=None):
    """Change the manifest; sign it again when a key is given."""
    manifest = json.loads((bundle / "bundle.json").read_text())
    change(manifest)
    (bundle / "bundle.json").write_text(json.dumps(manifest))
    if key:
        sign(bundle, key)


def test_manifest_of_a_valid_bundle(bundle, key):
    manifest = verify(bundle, key.public_key())
    assert (manifest.name, manifest.tasks, manifest.metrics) == ("shop", ("again",), {"ndcg": 0.5})
    assert manifest.version == f"20231114-{manifest.content[:12]}"
    assert set(manifest.files) == {"items.parquet", "ranker/ranker.onnx"}
    assert manifest.size == 5007


def test_version_depends_on_the_content_only(bundle, key):
    first = verify(bundle, None).version
    assert write_manifest(bundle, FACTS).version == first
    (bundle / "items.parquet").write_bytes(b"other")
    assert write_manifest(bundle, FACTS).version != first


def _flip(path):
    data = bytearray(path.read_bytes())
    data[3] ^= 1
    path.write_bytes(bytes(data))


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda b: (b / "ranker" / "ranker.onnx").unlink(), "ranker/ranker.onnx is missing"),
        (lambda b: (b / "extra.txt").write_text("x"), "extra.txt is not in the manifest"),
        (lambda b: _flip(b / "items.parquet"), "items.parquet was changed"),
        (lambda b: (b / "items.parquet").write_bytes(b"items"), "items.parquet has 5 bytes, not 5000"),
        (lambda b: (b / "bundle.json").unlink(), "bundle.json is missing"),
        (lambda b: (b / "bundle.sig").unlink(), "bundle.sig is missing"),
        (lambda b: (b / "bundle.sig").write_text("{}"), "bundle.sig is not a signature"),
        (lambda b: (b / "bundle.json").write_bytes((b / "bundle.json").read_bytes() + b" "), "does not match"),
        (lambda b: _rewrite(b, lambda m: m["metrics"].update(ndcg=1.0)), "does not match"),
        (lambda b: (b / "link").symlink_to("/etc/hostname"), "link is a link"),
        (lambda b: (b / "folder").symlink_to("/etc"), "folder is a link"),
    ],
)
def test_every_kind_of_damage_is_refused_and_named(bundle, key, damage, message):
    damage(bundle)
    with pytest.raises(BundleError, match=message) as refusal:
        verify(bundle, key.public_key())
    assert str(bundle) in refusal.value.headline
    assert refusal.value.fix


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda m: m.update(format_version=2), "bundle format 2; this shoprank version reads 1"),
        (lambda m: m["files"].update({"../key": {"sha256": "0" * 64, "size": 1}}), "'../key', which is not allowed"),
        (lambda m: m["files"].update({"/etc/passwd": {"sha256": "0" * 64, "size": 1}}), "'/etc/passwd'"),
        (lambda m: m["files"].update({"a/../../b": {"sha256": "0" * 64, "size": 1}}), "not allowed in a bundle"),
        (lambda m: m["files"].update({"x": {"sha256": "short", "size": 1}}), "has an invalid entry for 'x'"),
        (lambda m: m["files"].update({"x": 5}), "not a bundle manifest"),
        (lambda m: m.update(files=[]), "not a bundle manifest"),
        (lambda m: m.update(version="../../champion"), "not a bundle manifest"),
        (lambda m: m.pop("metrics"), "not a bundle manifest"),
    ],
)
def test_invalid_signed_manifest_is_refused(bundle, key, change, message):
    _rewrite(bundle, change, key)
    with pytest.raises(BundleError, match=message):
        verify(bundle, key.public_key())


def test_signature_of_another_key_is_refused(bundle, tmp_path):
    other = load_or_create_key(tmp_path / "other.pem").public_key()
    with pytest.raises(BundleError, match="another key"):
        verify(bundle, other)


def test_empty_folder_and_invalid_name_are_refused(tmp_path, bundle):
    (tmp_path / "empty").mkdir()
    with pytest.raises(BundleError, match="has no files"):
        write_manifest(tmp_path / "empty", FACTS)
    with pytest.raises(InputError, match=r"model name is '\.\./x'"):
        write_manifest(bundle, BundleFacts(name="../x", as_of=0, schema_hash=""))


def test_key_files_are_private_and_reused(tmp_path):
    path = tmp_path / "keys" / "k.pem"
    key = load_or_create_key(path)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert fingerprint(load_or_create_key(path).public_key()) == fingerprint(key.public_key())
    assert fingerprint(load_public_key(public_path(path))) == fingerprint(key.public_key())


def _fingerprint_of(path):
    return fingerprint(load_or_create_key(path).public_key())


def test_concurrent_processes_create_one_key(tmp_path):
    with ProcessPoolExecutor(4) as pool:
        fingerprints = set(pool.map(_fingerprint_of, [tmp_path / "k.pem"] * 8))
    assert len(fingerprints) == 1
    assert sorted(path.name for path in tmp_path.iterdir()) == ["k.pem", "k.pem.pub"]


def test_invalid_key_files_are_refused(tmp_path):
    path = tmp_path / "k.pem"
    path.write_text("hello")
    with pytest.raises(InputError, match="not an unencrypted PEM private key"):
        load_or_create_key(path)
    with pytest.raises(InputError, match="not a PEM public key"):
        load_public_key(path)
    with pytest.raises(InputError, match="No such file"):
        load_public_key(tmp_path / "none.pub")
