"""A registry in a bucket of its own on a real S3 server."""

import itertools

import botocore.session
import fsspec
import pytest

from components.shared.release.bundle import BundleFacts, sign, write_manifest
from components.shared.release.registry import Registry
from components.shared.release.signing import load_or_create_key
from tests.cluster.registry.s3_server import s3_server  # noqa: F401

_NUMBERS = itertools.count()


def write_bundle(folder, text, name="shop", files=3, signer="key"):
    """A signed bundle; equal `text` is equal content, whoever signs it."""
    (folder / "retriever").mkdir(parents=True)
    for number in range(files):
        (folder / "retriever" / f"part-{number}.bin").write_text(f"{text} {number} " * 200)
    write_manifest(folder, BundleFacts(name=name, as_of=1_700_000_000, schema_hash="x"))
    sign(folder, load_or_create_key(folder.parent / f"{signer}.pem"))
    return folder


@pytest.fixture
def bucket(s3_server, monkeypatch, tmp_path):  # noqa: F811
    """Name of a new bucket; the environment names the server and a cache of this test's own."""
    for name, value in s3_server.environment().items():
        monkeypatch.setenv(name, value)
    # File systems are cached, with the server that the environment named before.
    fsspec.filesystem("s3").clear_instance_cache()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    name = f"models-{next(_NUMBERS)}"
    botocore.session.get_session().create_client("s3").create_bucket(Bucket=name)
    return name


@pytest.fixture
def registry(bucket):
    return Registry(f"s3://{bucket}/shop/registry")
