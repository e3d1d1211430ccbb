"""Releases: only a blessed and proven version becomes the champion, and one call rolls it back."""

import dataclasses

import pytest
from kfp.dsl import Artifact, Metrics

from components.deploy_model.component import deploy_model
from components.deploy_model.deploy import Release, deploy, rollback
from components.shared.errors import BundleError, InputError, RegistryError
from components.shared.evaluation.decision import Decision
from components.shared.release.bundle import BundleFacts, read_manifest, sign, write_manifest
from components.shared.release.proof import PROOF, Proof
from components.shared.release.registry import Registry
from components.shared.release.signing import load_or_create_key
from components.shared.storage import write_json


class Shop:
    """A registry with versions, a proof for each and an evaluation."""

    def __init__(self, folder):
        self.folder, self.registry = folder, Registry(folder / "registry")

    def version(self, text):
        bundle = self.folder / text
        bundle.mkdir()
        (bundle / "model.bin").write_text(text)
        write_manifest(bundle, BundleFacts(name="shop", as_of=1_700_000_000, schema_hash="x"))
        sign(bundle, load_or_create_key(self.folder / "key.pem"))
        version = self.registry.add(bundle)
        content = read_manifest(bundle).content
        proof = Proof(name="shop", version=version, content=content, golden=1, max_score_difference=0, requests=1,
                      p50_ms=1, p99_ms=2, memory_mb=100, startup_s=1, max_p99_ms=5, max_memory_mb=500)  # fmt: skip
        write_json(self.folder / f"proof-{text}" / PROOF, dataclasses.asdict(proof))
        return version, self.folder / f"proof-{text}"

    def release(self, version, backend="local"):
        return Release(registry=self.registry.root, name="shop", version=version, backend=backend)

    def evaluation(self, blessed=True):
        folder = self.folder / f"evaluation-{blessed}"
        folder.mkdir(exist_ok=True)
        Decision(blessed, ("worse than popularity",), {}).write(folder)
        return folder


@pytest.fixture
def shop(tmp_path):
    return Shop(tmp_path)


def test_blessed_and_proven_version_is_released_once_and_rolled_back(shop):
    (one, proof_one), (two, proof_two) = shop.version("one"), shop.version("two")
    first = deploy(shop.release(one), proof_one, shop.evaluation())
    assert (first.version, first.previous, first.changed) == (one, "", True)
    assert not deploy(shop.release(one), proof_one, shop.evaluation()).changed
    assert deploy(shop.release(two), proof_two, shop.evaluation()).previous == one
    assert shop.registry.resolve("shop/champion").name == two
    back = rollback(shop.registry.root, "shop")
    assert (back.version, back.previous) == (one, two)
    with pytest.raises(RegistryError, match="no previous champion"):
        rollback(shop.registry.root, "shop")


def test_version_that_is_not_blessed_is_refused(shop):
    version, proof = shop.version("one")
    with pytest.raises(RegistryError, match="is not blessed: worse than popularity"):
        deploy(shop.release(version), proof, shop.evaluation(False))
    assert shop.registry.aliases("shop") == {}


def test_proof_of_another_version_and_changed_files_are_refused(shop):
    (one, proof_one), (two, _) = shop.version("one"), shop.version("two")
    with pytest.raises(RegistryError, match="the serving proof is for shop/"):
        deploy(shop.release(two), proof_one, shop.evaluation())
    (shop.registry.resolve(f"shop/{one}") / "model.bin").write_text("eno")
    with pytest.raises(BundleError, match=r"model\.bin was changed"):
        deploy(shop.release(one), proof_one, shop.evaluation())
    assert "champion" not in shop.registry.aliases("shop")


def test_missing_and_invalid_inputs_are_named(shop, tmp_path):
    version, proof = shop.version("one")
    with pytest.raises(InputError, match=r"proof\.json does not exist"):
        deploy(shop.release(version), tmp_path, shop.evaluation())
    with pytest.raises(InputError, match=r"decision\.json does not exist"):
        deploy(shop.release(version), proof, tmp_path)
    write_json(tmp_path / "broken" / "decision.json", {"blessed": "yes", "reasons": [], "metrics": {}})
    with pytest.raises(InputError, match="'blessed' is not true or false"):
        deploy(shop.release(version), proof, tmp_path / "broken")
    write_json(tmp_path / "broken" / PROOF, {"name": "shop"})
    with pytest.raises(InputError, match="is not a proof"):
        deploy(shop.release(version), tmp_path / "broken", shop.evaluation())
    with pytest.raises(InputError, match="backend is 'moon'") as refusal:
        deploy(shop.release(version, "moon"), proof, shop.evaluation())
    assert "local" in refusal.value.fix
    with pytest.raises(RegistryError, match="no version or alias 'v9'"):
        deploy(shop.release("v9"), proof, shop.evaluation())


def test_component_deploys_the_version_and_records_the_result(shop):
    version, proof = shop.version("one")
    result = Metrics(uri=str(shop.folder / "result"))
    served = deploy_model.python_func(
        proof=Artifact(uri=str(proof)), evaluation=Artifact(uri=str(shop.evaluation())), model_name="shop",
        registry=str(shop.registry.root), version=version, result=result,
    )  # fmt: skip
    assert served == version and result.metadata["changed"] == 1.0 and result.metadata["version"] == version
