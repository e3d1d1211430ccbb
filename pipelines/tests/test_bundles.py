"""`shoprank bundle` and `shoprank audit` as a person types them."""

import pytest

from components.shared.release.bundle import BundleFacts, sign, write_manifest
from components.shared.release.registry import Registry
from components.shared.release.signing import load_or_create_key
from pipelines.cli.app import main


@pytest.fixture
def shoprank(monkeypatch, capsys):
    """Exit code and words of the command."""

    def run(*words):
        monkeypatch.setattr("sys.argv", ["shoprank", *map(str, words)])
        with pytest.raises(SystemExit) as ended:
            main()
        said = capsys.readouterr()
        return ended.value.code or 0, said.out + said.err

    return run


@pytest.fixture
def bundle(tmp_path):
    folder = tmp_path / "bundle"
    folder.mkdir()
    (folder / "model.bin").write_text("weights")
    write_manifest(folder, BundleFacts(name="shop", as_of=1_700_000_000, schema_hash="x"))
    sign(folder, load_or_create_key(tmp_path / "key.pem"))
    return folder


def test_encrypt_and_back(shoprank, bundle, tmp_path):
    key = tmp_path / "k.jwk"
    assert shoprank("bundle", "key", key)[0] == 0
    assert shoprank("bundle", "encrypt", bundle, tmp_path / "e", "--key", key) == (0, f"{tmp_path}/e: 3 files\n")
    code, said = shoprank("bundle", "decrypt", tmp_path / "e", tmp_path / "back", "--key", key)
    assert code == 0 and "3 files, version 20231114-" in said
    code, said = shoprank("bundle", "encrypt", tmp_path / "e", tmp_path / "e2", "--key", key)
    assert code == 1 and "bundle.json is missing" in said


def test_an_image(shoprank, bundle, tmp_path):
    code, said = shoprank("bundle", "oci", bundle, tmp_path / "image")
    assert code == 0 and "sha256:" in said and (tmp_path / "image" / "oci-layout").exists()


def test_the_log_is_read_and_checked(shoprank, bundle, tmp_path):
    registry = Registry(tmp_path / "registry")
    version = registry.add(bundle)
    registry.promote("shop", version)
    assert shoprank("audit", "verify", "--out", tmp_path) == (0, "2 lines, unbroken\n")
    code, said = shoprank("audit", "log", "--out", tmp_path)
    assert code == 0 and f"promote version={version}" in said and len(said.splitlines()) == 2
    log = registry.audit("shop").path
    log.write_text(log.read_text().replace("promote", "demoted"))
    code, said = shoprank("audit", "verify", "--out", tmp_path)
    assert code == 1 and "line 2 was changed" in said
    assert shoprank("audit", "verify", "--out", tmp_path / "none")[0] == 2
