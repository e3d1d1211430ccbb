"""Bundles as OCI images: readable by a real OCI client, reproducible, refused when changed."""

import json
import shutil
import subprocess
import tarfile

import pytest

from components.shared.errors import BundleError, InputError
from components.shared.release.bundle import BundleFacts, sign, verify, write_manifest
from components.shared.release.oci_layout import read_layout, write_layout
from components.shared.release.signing import load_or_create_key


@pytest.fixture
def bundle(tmp_path):
    folder = tmp_path / "bundle"
    (folder / "ranker").mkdir(parents=True)
    (folder / "ranker" / "ranker.onnx").write_bytes(b"weights" * 1000)
    (folder / "items.parquet").write_bytes(b"items")
    write_manifest(folder, BundleFacts(name="shop", as_of=1_700_000_000, schema_hash="x"))
    sign(folder, load_or_create_key(tmp_path / "key.pem"))
    return folder


def test_bundle_is_read_back_unchanged(bundle, tmp_path):
    digest = write_layout(bundle, tmp_path / "layout")
    assert (tmp_path / "layout" / "blobs" / "sha256" / digest.removeprefix("sha256:")).exists()
    assert read_layout(tmp_path / "layout", tmp_path / "back") == verify(bundle, None)
    assert (tmp_path / "back" / "ranker" / "ranker.onnx").read_bytes() == b"weights" * 1000


def test_digest_is_reproducible_and_changes_with_the_content(bundle, tmp_path):
    first = write_layout(bundle, tmp_path / "one")
    shutil.copytree(bundle, tmp_path / "copied")
    assert write_layout(tmp_path / "copied", tmp_path / "two") == first
    (tmp_path / "copied" / "items.parquet").write_bytes(b"other")
    write_manifest(tmp_path / "copied", BundleFacts(name="shop", as_of=1_700_000_000, schema_hash="x"))
    sign(tmp_path / "copied", load_or_create_key(tmp_path / "key.pem"))
    assert write_layout(tmp_path / "copied", tmp_path / "three") != first


def test_files_are_in_the_paths_that_kserve_reads(bundle, tmp_path):
    write_layout(bundle, tmp_path / "layout")
    index = json.loads((tmp_path / "layout" / "index.json").read_text())
    blobs = tmp_path / "layout" / "blobs" / "sha256"
    image = json.loads((blobs / index["manifests"][0]["digest"][7:]).read_text())
    with tarfile.open(blobs / image["layers"][0]["digest"][7:]) as layer:
        members = {member.name: member for member in layer}
    assert {"models/bundle.json", "models/bundle.sig", "models/ranker/ranker.onnx"} <= set(members)
    assert all((member.uid, member.mtime) == (0, 0) for member in members.values())
    assert image["annotations"]["org.opencontainers.image.version"] == verify(bundle, None).version


@pytest.mark.skipif(shutil.which("skopeo") is None, reason="no skopeo (Debian: skopeo)")
def test_skopeo_inspects_and_copies_the_image(bundle, tmp_path):
    digest = write_layout(bundle, tmp_path / "layout")
    version = verify(bundle, None).version
    result = subprocess.run(["skopeo", "inspect", f"oci:{tmp_path}/layout:{version}"], capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    assert json.loads(result.stdout)["Digest"] == digest
    command = ["skopeo", "--insecure-policy", "copy", f"oci:{tmp_path}/layout:{version}", f"dir:{tmp_path}/copied"]
    subprocess.run(command, check=True, capture_output=True)


def test_changed_or_missing_files_are_named(bundle, tmp_path):
    layout = tmp_path / "layout"
    write_layout(bundle, layout)
    largest = max((layout / "blobs" / "sha256").iterdir(), key=lambda path: path.stat().st_size)
    content = largest.read_bytes()
    largest.write_bytes(content[:-1] + b"x")
    with pytest.raises(BundleError, match=f"{largest.name} was changed"):
        read_layout(layout, tmp_path / "back")
    largest.unlink()
    with pytest.raises(BundleError, match="is missing"):
        read_layout(layout, tmp_path / "back")
    with pytest.raises(InputError, match=r"index\.json does not exist"):
        read_layout(tmp_path, tmp_path / "back")
    (bundle / "items.parquet").write_bytes(b"cut")
    with pytest.raises(BundleError, match=r"items\.parquet has 3 bytes"):
        write_layout(bundle, tmp_path / "again")
