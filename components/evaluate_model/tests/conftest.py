"""A signed bundle of the tiny shop as the champion, and the trained model that is compared with it."""

import shutil

import pytest

from components.shared.recommender.candidates import CandidateConfig
from components.shared.recommender.offline import open_offline
from components.shared.release.bundle import BundleFacts, sign, write_manifest
from components.shared.release.signing import load_or_create_key, public_path
from components.shared.storage import read_json


def _sign_bundle(folder, private):
    write_manifest(folder, BundleFacts(name="shop", as_of=0, schema_hash=""))
    sign(folder, load_or_create_key(private))
    return str(public_path(private))


@pytest.fixture(scope="session")
def sign_bundle():
    """A function that signs the folder of a compiled model as a bundle and returns the file of the public key."""
    return _sign_bundle


@pytest.fixture(scope="session")
def bundle(tiny_run, tmp_path_factory):
    """The tiny shop's own model, signed with key.pem in the folder above."""
    folder = tmp_path_factory.mktemp("champion")
    shutil.copytree(tiny_run.compiled, folder / "bundle")
    _sign_bundle(folder / "bundle", folder / "key.pem")
    return folder / "bundle"


@pytest.fixture(scope="session")
def recommender(tiny_run):
    """The trained model as of the test time."""
    candidates = CandidateConfig(**read_json(tiny_run.ranker / "candidates.json"))
    return open_offline(tiny_run.features, tiny_run.retriever, tiny_run.ranker, candidates, "test")
