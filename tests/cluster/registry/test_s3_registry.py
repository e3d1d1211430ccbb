"""The registry in an object store: versions written once, aliases by compare-and-swap, one audit chain."""

import itertools
import json
import os
import shutil
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import pytest

from components.shared.errors import BundleError, InputError, RegistryError
from components.shared.release.bundle import verify
from components.shared.release.collection import collect
from components.shared.release.registry import Registry
from components.shared.release.signing import load_public_key
from tests.cluster.registry.checks import check_consistent, client, keys, put
from tests.cluster.registry.conftest import write_bundle


def test_layout_is_that_of_a_folder(registry, tmp_path):
    bundle = write_bundle(tmp_path / "a", "one")
    in_folder = Registry(tmp_path / "folder")
    for one in (registry, in_folder):
        version = one.add(bundle)
        one.set_alias("shop", "candidate", version)
        one.promote("shop", version)
        one.attach("shop", version, tmp_path / "a" / "retriever", "20260101t000000")
        one.save_rollout("shop", {"candidate": version})
    files = {path.relative_to(tmp_path / "folder").as_posix() for path in (tmp_path / "folder").rglob("*")
             if path.is_file() and path.name != ".lock"}  # fmt: skip
    assert set(keys(registry)) == files
    assert registry.uri("shop", version) == f"{registry.root}/shop/versions/{version}"
    assert [path.name for path in registry.rollouts("shop", version)] == ["20260101t000000"]
    assert registry.rollout_state("shop") == in_folder.rollout_state("shop") == {"candidate": version}
    registry.end_rollout("shop")
    assert registry.rollout_state("shop") == {}
    assert Registry(Path(registry.root)).versions("shop") == [version], "a URI that went through pathlib"


def test_versions_aliases_and_log_are_as_in_a_folder(registry, tmp_path):
    one, two, three = (registry.add(write_bundle(tmp_path / text, text)) for text in ("one", "two", "three"))
    assert registry.add(tmp_path / "one") == one
    assert registry.versions("shop") == sorted([one, two, three])
    registry.set_alias("shop", "candidate", one)
    for version in (one, two, two, three):
        registry.promote("shop", version)
    assert registry.aliases("shop") == {"candidate": one, "champion": three, "previous": two}
    assert registry.rollback("shop") == two and registry.rollback("shop") == one
    with pytest.raises(RegistryError, match="no previous champion"):
        registry.rollback("shop")
    assert registry.resolve("shop/champion").name == one
    with pytest.raises(RegistryError, match="no version or alias 'nothing'"):
        registry.promote("shop", "nothing")
    actions = [entry["action"] for entry in registry.audit("shop").entries()]
    assert actions == ["add", "add", "add", "candidate", "promote", "promote", "promote", "rollback", "rollback"]
    check_consistent(registry, tmp_path)


def test_other_content_under_a_registered_version_is_refused(registry, tmp_path):
    version = registry.add(write_bundle(tmp_path / "a", "one"))
    forged = write_bundle(tmp_path / "b", "two")
    manifest = json.loads((forged / "bundle.json").read_text())
    (forged / "bundle.json").write_text(json.dumps({**manifest, "version": version}))
    with pytest.raises(RegistryError, match=f"shop/{version} is registered with other content"):
        registry.add(forged)
    check_consistent(registry, tmp_path)


def test_changed_objects_are_detected_and_the_cache_is_not_trusted(registry, tmp_path):
    version = registry.add(write_bundle(tmp_path / "a", "one"))
    cached = registry.resolve(f"shop/{version}")
    (cached / "retriever" / "part-0.bin").write_text("changed")
    verify(registry.resolve(f"shop/{version}"), None)
    put(registry, f"shop/versions/{version}/retriever/part-1.bin", b"changed")
    verify(registry.resolve(f"shop/{version}"), None)
    shutil.rmtree(tmp_path / "cache")
    with pytest.raises(BundleError, match=r"part-1\.bin has 7 bytes"):
        registry.resolve(f"shop/{version}")
    assert not list((tmp_path / "cache").rglob("*.bin")), "nothing half verified stays"


def test_missing_file_is_put_again_by_the_next_registration(registry, tmp_path):
    version = registry.add(write_bundle(tmp_path / "a", "one"))
    registry.remove("shop", version)
    assert registry.versions("shop") == []
    registry.add(tmp_path / "a")
    bucket, _, prefix = registry.root.removeprefix("s3://").partition("/")
    client().delete_object(Bucket=bucket, Key=f"{prefix}/shop/versions/{version}/retriever/part-1.bin")
    with pytest.raises(BundleError, match=r"part-1\.bin is missing"):
        registry.resolve(f"shop/{version}")
    registry.add(tmp_path / "a")
    verify(registry.resolve(f"shop/{version}"), None)


def _add_and_promote(root, bundle, hours):
    # The clock of this process is off by hours.
    if hours:
        import datetime as clocks

        from components.shared.release import audit

        class Clock(clocks.datetime):
            @classmethod
            def now(cls, zone=None):
                return clocks.datetime.now(zone) + clocks.timedelta(hours=hours)

        audit.datetime = type("datetime", (), {"datetime": Clock, "UTC": clocks.UTC})
    registry = Registry(root)
    version = registry.add(bundle)
    registry.set_alias("shop", "candidate", version)
    registry.promote("shop", version)
    return version


def _in_parallel(root, bundles, hours=(0,)):
    with ProcessPoolExecutor(6, mp_context=get_context("spawn")) as pool:
        return list(pool.map(_add_and_promote, [root] * len(bundles), bundles, itertools.cycle(hours)))


def test_concurrent_registrations_and_promotions_with_different_clocks(registry, tmp_path):
    # The same three contents, each by four signers at once.
    bundles = [write_bundle(tmp_path / f"b{number}", f"text {number % 3}", signer=f"key{number}")
               for number in range(12)]  # fmt: skip
    versions = _in_parallel(registry.root, bundles, hours=(0, 30, -30, 5))
    assert registry.versions("shop") == sorted(set(versions)) and len(set(versions)) == 3
    moved = check_consistent(registry, tmp_path)
    assert registry.aliases("shop")["champion"] == moved[-1]["version"]
    history = registry.audit("shop").entries()
    assert sum(entry["action"] == "add" for entry in history) == 3
    assert len({entry["when"][:13] for entry in history}) > 1, "the clocks did differ"


def test_killed_registration_is_completed_by_another_signer(registry, tmp_path, monkeypatch):
    from components.shared.release.object_store import ObjectStore

    write, stopped = ObjectStore.put, []

    def dies(self, key, content, facts=None, tag=None):
        if key.endswith("bundle.json") and not stopped:
            stopped.append(key)
            raise KeyboardInterrupt
        write(self, key, content, facts, tag)

    monkeypatch.setattr(ObjectStore, "put", dies)
    with pytest.raises(KeyboardInterrupt):
        registry.add(write_bundle(tmp_path / "a", "one", signer="first"))
    assert registry.versions("shop") == []
    registry.add(write_bundle(tmp_path / "b", "one", signer="second"))
    check_consistent(registry, tmp_path)
    # The first signer's claim was completed, with its manifest.
    (version,) = registry.versions("shop")
    assert verify(registry.resolve(f"shop/{version}"), load_public_key(tmp_path / "first.pem.pub"))
    assert not [key for key in keys(registry) if "/pending/" in key]


def _collect(root):
    return collect(Registry(root), "shop", 1).removed


def test_garbage_collection_beside_promotions_keeps_what_is_in_use(registry, tmp_path):
    bundles = [write_bundle(tmp_path / f"b{number}", f"text {number}", files=1) for number in range(8)]
    for bundle in bundles:
        registry.add(bundle)
    with ProcessPoolExecutor(4, mp_context=get_context("spawn")) as pool:
        moving = [pool.submit(_add_and_promote, registry.root, bundle, 0) for bundle in bundles]
        removed = pool.submit(_collect, registry.root).result()
        refused = [one.exception() for one in moving if one.exception()]
    # A version that went first is refused, by name; nothing else fails.
    assert all(isinstance(error, RegistryError) for error in refused)
    check_consistent(registry, tmp_path)
    assert collect(registry, "shop", 1).kept.keys() == set(registry.versions("shop"))
    check_consistent(registry, tmp_path)
    assert {"champion", "candidate"} <= registry.aliases("shop").keys()
    left = {key.split("/")[2] for key in keys(registry) if "/versions/" in key}
    assert left == set(registry.versions("shop")), "removed versions leave no files"
    assert len(removed) + len(left) <= len(bundles) * 2


def test_clock_that_the_store_refuses_is_named(registry, monkeypatch):
    import datetime

    import botocore.auth

    late = datetime.datetime.now(datetime.UTC) + datetime.timedelta(hours=2)
    monkeypatch.setattr(botocore.auth, "get_current_datetime", lambda **_: late.replace(tzinfo=None))
    with pytest.raises(RegistryError, match="the clocks of this machine and of the object store") as refused:
        registry.versions("shop")
    assert "synchronise" in refused.value.fix


def test_errors_name_what_to_do(registry, bucket, monkeypatch, tmp_path):
    with pytest.raises(InputError, match=r"there is no bucket 'none-such'") as refused:
        Registry("s3://none-such/registry").add(write_bundle(tmp_path / "a", "one"))
    assert "create it" in refused.value.fix
    with pytest.raises(InputError, match="not a URI of an object store"):
        Registry("s3:///registry")
    with pytest.raises(InputError, match="give a folder or s3://"):
        Registry("gs://bucket/registry")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "wrong")
    with pytest.raises(RegistryError, match="SignatureDoesNotMatch") as refused:
        Registry(registry.root).add(tmp_path / "a")
    assert "shoprank-object-store" in refused.value.fix and "wrong" not in str(refused.value)
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("HOME", str(tmp_path))
    with pytest.raises(InputError, match="no credentials"):
        Registry(registry.root).versions("shop")
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "a")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "b")
    with pytest.raises(RegistryError, match="does not answer"):
        Registry(registry.root).versions("shop")
    assert os.environ["AWS_ENDPOINT_URL"].endswith(":9")
