"""`shoprank keys create`: one pair as Secret and ConfigMap, by file or with kubectl, and never overwritten."""

import base64
import stat

import pytest
import yaml

from components.shared.release.signing import check_pair, create_key, fingerprint, load_key, load_public_key


@pytest.fixture
def kubectl(tmp_path, monkeypatch):
    """A kubectl that keeps what it is given; `answer` is its error."""
    script, log = tmp_path / "bin" / "kubectl", tmp_path / "kubectl.log"
    script.parent.mkdir()

    def install(answer="", objects=None):
        """`objects`: namespace -> kinds that `get` finds there."""
        found = "".join(
            f'case "$*" in *"-n {place} get"*{kind}/*) echo {kind}/shoprank-signing-key;; esac\n'
            for place, kinds in (objects or {}).items() for kind in kinds.split()
        )  # fmt: skip
        found = f'case "$*" in *" get "*)\n{found}exit 0;; esac\n' if objects else ""
        ending = f"echo '{answer}' >&2; exit 1" if answer else "exit 0"
        script.write_text(f'#!/bin/sh\n{found}echo "ARGS $@" >> {log}\ncat >> {log}\n{ending}\n')
        script.chmod(0o755)
        return log

    monkeypatch.setenv("PATH", f"{script.parent}:/usr/bin:/bin")
    return install


def read_pair(folder):
    secret, public = (yaml.safe_load((folder / name).read_text()) for name in ("secret.yaml", "config-map.yaml"))
    for name, field in (("private.pem", "signing.pem"), ("half.pub", "signing.pem.pub")):
        (folder / name).write_bytes(base64.b64decode(secret["data"][field]))
    (folder / "trusted.pub").write_text(public["data"]["signing.pem.pub"])
    return secret, public


def test_files_hold_one_pair(shoprank, tmp_path):
    done = shoprank("keys", "create", "--out", tmp_path / "k", "--namespace", "shop")
    assert done.code == 0 and "secret.yaml (mode 0600)" in done.out
    modes = {path.name: oct(stat.S_IMODE(path.stat().st_mode)) for path in (tmp_path / "k").iterdir()}
    assert modes == {"secret.yaml": "0o600", "config-map.yaml": "0o644"}
    secret, public = read_pair(tmp_path / "k")
    assert secret["metadata"]["name"] == public["metadata"]["name"] == "shoprank-signing-key"
    assert secret["metadata"]["namespace"] == "shop" and list(public["data"]) == ["signing.pem.pub"]
    signing = load_key(tmp_path / "k" / "private.pem").public_key()
    for half in ("half.pub", "trusted.pub"):
        check_pair(signing, tmp_path / "k" / half, "private.pem")
    done = shoprank("keys", "create", "--out", tmp_path / "k")
    assert done.code == 2 and "secret.yaml exists" in done.err and "fix:" in done.err


def test_existing_key_is_taken(shoprank, tmp_path):
    create_key(tmp_path / "ours.pem")
    assert shoprank("keys", "create", "--out", tmp_path / "k", "--key", tmp_path / "ours.pem").code == 0
    read_pair(tmp_path / "k")
    ours = fingerprint(load_key(tmp_path / "ours.pem").public_key())
    assert fingerprint(load_public_key(tmp_path / "k" / "trusted.pub")) == ours


def test_both_are_created_in_the_cluster_after_a_dry_run(shoprank, kubectl):
    log = kubectl()
    done = shoprank("keys", "create", "--apply", "--namespace", "kubeflow", "--serving-namespace", "shop",
                    "--kube-context", "kind")  # fmt: skip
    assert done.code == 0, done.err
    dry, real = log.read_text().split("ARGS ")[1:]
    assert dry.startswith("--context kind create --dry-run=server -f -\n")
    assert real.startswith("--context kind create -f -\n") and dry.split("\n", 1)[1] == real.split("\n", 1)[1]
    made = [(one["kind"], one["metadata"]["namespace"]) for one in yaml.safe_load_all(real.split("\n", 1)[1])]
    assert made == [("Secret", "kubeflow"), ("ConfigMap", "kubeflow"), ("ConfigMap", "shop")]
    assert "PRIVATE" not in done.out + done.err


EXISTS = 'Error from server (AlreadyExists): secrets "shoprank-signing-key" already exists'


def test_existing_pair_is_named_and_its_private_key_is_saved_before_it_is_deleted(shoprank, kubectl):
    kubectl(EXISTS, {"kubeflow": "secret configmap"})
    done = shoprank("keys", "create", "--apply", "--namespace", "kubeflow", "--serving-namespace", "shop")
    assert done.code == 2
    assert "Secret shoprank-signing-key in kubeflow and ConfigMap shoprank-signing-key in kubeflow exist\n" in done.err
    lines = done.err.splitlines()
    save = lines.index("kubectl -n kubeflow get secret shoprank-signing-key -o yaml > FILE")
    assert save < lines.index("kubectl -n kubeflow delete secret shoprank-signing-key")
    assert "kubectl -n kubeflow delete configmap shoprank-signing-key" in lines
    assert any(line.startswith("kubectl -n shop create configmap shoprank-signing-key") for line in lines)


def test_what_is_left_of_another_pair_is_named_with_its_namespace(shoprank, kubectl):
    kubectl(EXISTS.replace("secrets", "configmaps"), {"shop": "configmap"})
    done = shoprank("keys", "create", "--apply", "--namespace", "kubeflow", "--serving-namespace", "shop")
    assert done.code == 2 and "ConfigMap shoprank-signing-key in shop of another pair exists" in done.err
    assert done.err.endswith("\nkubectl -n shop delete configmap shoprank-signing-key\n")
    assert "delete secret" not in done.err


def test_what_may_not_be_made_is_said(shoprank, kubectl):
    kubectl("Error from server (Forbidden): secrets is forbidden")
    done = shoprank("keys", "create", "--apply", "--namespace", "kubeflow")
    assert done.code == 1 and "Forbidden" in done.err and "fix: check the context" in done.err


def test_invalid_names_are_refused(shoprank, kubectl):
    log = kubectl()
    done = shoprank("keys", "create", "--apply", "--namespace", "Kubeflow")
    assert done.code == 2 and "--namespace 'Kubeflow' is not a name" in done.err and not log.exists()


@pytest.mark.parametrize("words", [[], ["--apply"], ["--apply", "--namespace", "a", "--out", "x"]])
def test_where_to_put_the_pair_is_asked_for(shoprank, words):
    done = shoprank("keys", "create", *words)
    assert done.code == 2 and "fix:" in done.err
