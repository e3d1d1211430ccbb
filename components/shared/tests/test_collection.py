"""Garbage collection: what is in use stays, whatever else happens at the same time."""

import pytest

from components.shared.errors import InputError, RegistryError
from components.shared.release.bundle import BundleFacts, sign, write_manifest
from components.shared.release.collection import collect, planned
from components.shared.release.registry import Registry
from components.shared.release.signing import load_or_create_key


@pytest.fixture
def registry(tmp_path):
    return Registry(tmp_path / "registry")


@pytest.fixture
def versions(registry, tmp_path):
    """Eight versions, oldest registration first; their data is from other days, in another order."""
    found = []
    for number in range(8):
        folder = tmp_path / f"b{number}"
        folder.mkdir()
        (folder / "model.bin").write_text(f"model {number}")
        write_manifest(folder, BundleFacts(name="shop", as_of=1_700_000_000 - number * 86_400, schema_hash="x"))
        sign(folder, load_or_create_key(tmp_path / "key.pem"))
        found.append(registry.add(folder))
    return found


def test_what_is_in_use_and_the_newest_stay(registry, versions):
    for version in versions[:3]:
        registry.promote("shop", version)
    registry.set_alias("shop", "candidate", versions[3])
    registry.save_rollout("shop", {"candidate": versions[4], "champion": versions[2]})
    plan = planned(registry, "shop", 2)
    assert registry.versions("shop") == sorted(versions), "a plan removes nothing"
    assert plan.kept == {versions[1]: "previous", versions[2]: "champion", versions[3]: "candidate",
                         versions[4]: "rollout", versions[6]: "newest", versions[7]: "newest"}  # fmt: skip
    assert plan.removed == (versions[0], versions[5]) and plan.size == 2 * len("model 0")
    assert collect(registry, "shop", 2) == plan
    assert registry.versions("shop") == sorted(plan.kept)
    assert [entry["action"] for entry in registry.audit("shop").entries()][-2:] == ["remove", "removed"]
    # The oldest champion is gone: a second rollback has nowhere to go.
    assert registry.rollback("shop") == versions[1]
    with pytest.raises(RegistryError, match="no previous champion"):
        registry.rollback("shop")
    assert collect(registry, "shop", 2).removed == ()
    assert registry.audit("shop").verify()


def test_removed_version_can_be_registered_again(registry, versions, tmp_path):
    collect(registry, "shop", 1)
    assert registry.add(tmp_path / "b0") == versions[0]
    assert registry.registered("shop") == [versions[7], versions[0]]
    assert collect(registry, "shop", 1).removed == (versions[7],)


def test_interrupted_collection_is_finished_by_the_next(registry, versions, tmp_path, monkeypatch):
    remove, left = Registry.remove, [2]

    def dies(self, name, version):
        left[0] -= 1
        if not left[0]:
            raise KeyboardInterrupt
        remove(self, name, version)

    monkeypatch.setattr(Registry, "remove", dies)
    with pytest.raises(KeyboardInterrupt):
        collect(registry, "shop", 6)
    monkeypatch.undo()
    assert registry.versions("shop") == sorted(versions[2:]), "a marked version is none"
    with pytest.raises(RegistryError, match="no version"):
        registry.promote("shop", versions[1])
    with pytest.raises(RegistryError, match="is being removed") as refused:
        registry.add(tmp_path / "b1")
    assert "shoprank registry gc" in refused.value.fix
    collect(registry, "shop", 6)
    assert registry.add(tmp_path / "b1") == versions[1]
    assert registry.audit("shop").verify()


def test_version_promoted_meanwhile_is_kept(registry, versions, monkeypatch):
    aliases = type(registry.aliases_of("shop"))
    change, promoted = aliases.change, []

    def change_after_promotion(self, decide):
        if not promoted:
            promoted.append(versions[0])
            Registry(registry.root).promote("shop", versions[0])
        return change(self, decide)

    monkeypatch.setattr(aliases, "change", change_after_promotion)
    assert versions[0] in collect(registry, "shop", 3).kept
    assert registry.aliases("shop")["champion"] == versions[0]
    assert registry.resolve("shop/champion").is_dir()


def test_keep_is_at_least_one(registry):
    with pytest.raises(InputError, match="--keep is 0"):
        planned(registry, "shop", 0)
