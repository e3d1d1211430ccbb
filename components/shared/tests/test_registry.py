"""The registry: immutable versions, promotion and rollback of the champion, concurrent processes."""

import itertools
import json
import shutil
from concurrent.futures import ProcessPoolExecutor

import pytest

from components.shared.errors import BundleError, InputError, RegistryError
from components.shared.release.bundle import BundleFacts, sign, write_manifest
from components.shared.release.registry import Registry
from components.shared.release.signing import load_or_create_key


def _bundle(folder, text, name="shop"):
    folder.mkdir(parents=True)
    (folder / "model.bin").write_text(text)
    write_manifest(folder, BundleFacts(name=name, as_of=1_700_000_000, schema_hash="x"))
    sign(folder, load_or_create_key(folder.parent / f"{folder.name}.pem"))
    return folder


@pytest.fixture
def registry(tmp_path):
    return Registry(tmp_path / "registry")


def test_same_bundle_is_registered_once(registry, tmp_path):
    version = registry.add(_bundle(tmp_path / "a", "one"))
    assert registry.add(tmp_path / "a") == version
    assert registry.add(_bundle(tmp_path / "b", "one")) == version
    assert registry.versions("shop") == [version]
    assert [entry["action"] for entry in registry.audit("shop").entries()] == ["add"]
    assert (registry.resolve(f"shop/{version}") / "model.bin").read_text() == "one"


def test_other_content_under_a_registered_version_is_refused(registry, tmp_path):
    version = registry.add(_bundle(tmp_path / "a", "one"))
    forged = _bundle(tmp_path / "b", "two")
    manifest = json.loads((forged / "bundle.json").read_text())
    (forged / "bundle.json").write_text(json.dumps({**manifest, "version": version}))
    with pytest.raises(RegistryError, match=f"shop/{version} is registered with other content"):
        registry.add(forged)
    assert (registry.resolve(f"shop/{version}") / "model.bin").read_text() == "one"


def test_incomplete_bundle_is_not_registered(registry, tmp_path):
    bundle = _bundle(tmp_path / "a", "one")
    (bundle / "model.bin").unlink()
    with pytest.raises(BundleError, match=r"model\.bin is missing"):
        registry.add(bundle)
    assert registry.versions("shop") == []


def test_champion_is_promoted_and_rolled_back(registry, tmp_path):
    one, two, three = (registry.add(_bundle(tmp_path / text, text)) for text in ("one", "two", "three"))
    registry.set_alias("shop", "candidate", one)
    for version in (one, two, two, three):
        registry.promote("shop", version)
    assert registry.aliases("shop") == {"candidate": one, "champion": three, "previous": two}
    assert registry.rollback("shop") == two
    assert registry.resolve("shop/champion").name == two
    assert registry.rollback("shop") == one
    with pytest.raises(RegistryError, match="no previous champion"):
        registry.rollback("shop")
    assert registry.aliases("shop")["champion"] == one
    actions = [(entry["action"], entry["version"]) for entry in registry.audit("shop").entries()][3:]
    assert actions == [("candidate", one), ("promote", one), ("promote", two), ("promote", three),
                       ("rollback", two), ("rollback", one)]  # fmt: skip
    assert all(entry["who"] and entry["when"] for entry in registry.audit("shop").entries())


def test_unknown_names_and_reserved_aliases_are_refused(registry, tmp_path):
    with pytest.raises(RegistryError, match="has no model 'shop'"):
        registry.resolve("shop/champion")
    version = registry.add(_bundle(tmp_path / "a", "one"))
    with pytest.raises(RegistryError, match="no version or alias 'champion'") as refusal:
        registry.resolve("shop/champion")
    assert version in refusal.value.fix
    with pytest.raises(RegistryError, match="'nothing'"):
        registry.promote("shop", "nothing")
    with pytest.raises(RegistryError, match="'champion' cannot be set"):
        registry.set_alias("shop", "champion", version)
    with pytest.raises(InputError, match=r"model name is '\.\.'"):
        registry.resolve("../champion")


def _add_and_promote(root, bundle):
    registry = Registry(root)
    version = registry.add(bundle)
    registry.set_alias("shop", "candidate", version)
    registry.promote("shop", version)
    return version


def test_concurrent_processes_lose_no_entries(tmp_path):
    bundles = [_bundle(tmp_path / f"b{number}", f"text {number % 3}") for number in range(12)]
    with ProcessPoolExecutor(4) as pool:
        versions = list(pool.map(_add_and_promote, [tmp_path / "registry"] * 12, bundles))
    registry = Registry(tmp_path / "registry")
    assert set(registry.versions("shop")) == set(versions) and len(set(versions)) == 3
    history = registry.audit("shop").entries()
    assert sum(entry["action"] == "add" for entry in history) == 3
    promoted = [entry for entry in history if entry["action"] == "promote"]
    assert registry.aliases("shop")["champion"] == promoted[-1]["version"]
    for before, after in itertools.pairwise(promoted):
        assert after["replaced"] == before["version"]


def test_unwritable_registry_raises_input_error(tmp_path):
    (tmp_path / "registry").write_text("a file")
    bundle = _bundle(tmp_path / "a", "one")
    with pytest.raises(InputError, match="cannot write the registry"):
        Registry(tmp_path / "registry").add(bundle)


def test_interrupted_copy_is_not_a_version(registry, tmp_path):
    version = registry.add(_bundle(tmp_path / "a", "one"))
    versions = registry.resolve(f"shop/{version}").parent
    shutil.copytree(versions / version, versions / ".20231114-dead.partial-1")
    assert registry.versions("shop") == [version]
