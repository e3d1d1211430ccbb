"""Registering a compiled model: a signed bundle, a reproducible version, and nothing for an incomplete model."""

import dataclasses
import re
import shutil

import pytest
from kfp.dsl import Artifact, Model

from components.register_model.component import register_model
from components.register_model.register import RegisterConfig, register
from components.shared.errors import BundleError, InputError
from components.shared.evaluation.decision import Decision
from components.shared.release.bundle import verify
from components.shared.release.config import ReleaseOptions
from components.shared.release.registry import Registry
from components.shared.release.signing import create_key, load_public_key
from serving.tests.handmade import write_compiled, write_golden


@pytest.fixture(scope="session")
def compiled(tmp_path_factory):
    folder = write_compiled(tmp_path_factory.mktemp("register") / "compiled")
    write_golden(folder)
    return folder


@pytest.fixture
def evaluation(tmp_path):
    (tmp_path / "evaluation").mkdir()
    Decision(True, ("better everywhere",), {"ndcg_at_10": 0.25}).write(tmp_path / "evaluation")
    return tmp_path / "evaluation"


@pytest.fixture
def config(tmp_path):
    create_key(tmp_path / "key.pem")
    return RegisterConfig(registry=tmp_path / "registry", name="shop", signing_key=tmp_path / "key.pem",
                          lineage={"run": "r1"})  # fmt: skip


def test_a_compiled_model_becomes_the_signed_candidate(compiled, evaluation, config, tmp_path):
    result = register(compiled, evaluation, tmp_path / "bundle", config)
    manifest = verify(tmp_path / "bundle", load_public_key(tmp_path / "key.pem.pub"))
    assert manifest.version == result.version and manifest.name == "shop"
    assert manifest.metrics == {"ndcg_at_10": 0.25} and manifest.lineage["run"] == "r1"
    assert manifest.tasks == ("purchase_again", "purchase_first")
    registry = Registry(config.registry)
    assert registry.aliases("shop") == {"candidate": result.version}
    assert verify(registry.resolve("shop/candidate"), load_public_key(tmp_path / "key.pem.pub")) == manifest


def test_registering_again_returns_the_same_version(compiled, evaluation, config, tmp_path):
    first = register(compiled, evaluation, tmp_path / "a", config)
    again = register(compiled, None, tmp_path / "b", config)
    assert first == again and Registry(config.registry).versions("shop") == [first.version]


@pytest.mark.parametrize("missing", ["ranker/ranker.onnx", "golden.json", "search", "history/offsets.npy"])
def test_incomplete_model_is_refused_and_leaves_nothing(compiled, config, tmp_path, missing):
    incomplete = shutil.copytree(compiled, tmp_path / "half")
    shutil.rmtree(incomplete / missing) if (incomplete / missing).is_dir() else (incomplete / missing).unlink()
    with pytest.raises(BundleError, match=f"{missing} is missing"):
        register(incomplete, None, tmp_path / "bundle", config)
    assert not (tmp_path / "bundle").exists() and not config.registry.exists()


def test_symbolic_link_in_the_model_is_refused(compiled, config, tmp_path):
    linked = shutil.copytree(compiled, tmp_path / "linked")
    (linked / "passwords").symlink_to("/etc/passwd")
    with pytest.raises(BundleError, match="passwords is a link"):
        register(linked, None, tmp_path / "bundle", config)
    assert not (tmp_path / "bundle").exists()


def test_invalid_release_options_are_refused_by_their_path():
    assert ReleaseOptions.read({"lineage": {"a": "b"}}, "release").lineage == {"a": "b"}
    for raw, message in (
        ({"lineage": []}, "release.lineage is []"), ({"lineage": {"a": 1}}, "release.lineage.a is 1"),
        ({"publish": "harbor:x"}, "release: publish is 'harbor:x'"),
    ):  # fmt: skip
        with pytest.raises(InputError, match=re.escape(message)):
            ReleaseOptions.read(raw, "release")


def test_component_writes_a_signed_bundle_with_its_version(compiled, evaluation, tmp_path):
    bundle = Model(uri=str(tmp_path / "bundle"))
    create_key(tmp_path / "key.pem")
    version = register_model.python_func(
        compiled=Model(uri=str(compiled)), evaluation=Artifact(uri=str(evaluation)), bundle=bundle,
        registry=str(tmp_path / "registry"), model_name="shop", signing_key=str(tmp_path / "key.pem"),
        public_key=str(tmp_path / "key.pem.pub"),
        release={"lineage": {"run": "r1"}},
    )  # fmt: skip
    assert bundle.metadata["version"] == version and (tmp_path / "bundle" / "bundle.sig").exists()


def test_a_step_makes_no_key_and_signs_with_no_other_than_the_trusted_one(compiled, config, tmp_path):
    missing = dataclasses.replace(config, signing_key=tmp_path / "none.pem")
    with pytest.raises(InputError, match=r"cannot read the signing key .*none\.pem") as refused:
        register(compiled, None, tmp_path / "bundle", missing)
    assert "shoprank keys create" in refused.value.fix
    assert not list(tmp_path.glob("none*")) and not (tmp_path / "bundle").exists()
    create_key(tmp_path / "other.pem")
    other = dataclasses.replace(config, public_key=tmp_path / "other.pem.pub")
    with pytest.raises(InputError, match="does not belong to the public key"):
        register(compiled, None, tmp_path / "bundle", other)
    assert not (tmp_path / "registry").exists()


def test_kserve_reads_a_registry_in_an_object_store_under_its_own_uri():
    read = ReleaseOptions.read
    assert read({}, "release").storage_of("s3://shop/models") == "s3://shop/models"
    assert read({}, "release").storage_of("/mnt/shoprank/registry") == "pvc://shoprank-registry/registry"
    assert read({"storage": "s3://encrypted/models"}, "").storage_of("s3://a/b") == "s3://encrypted/models"
