"""`shoprank install` without a cluster; tests/cluster/test_install.py applies it."""

import shutil

import pytest
import yaml

KEY = "-----BEGIN PUBLIC KEY-----\nMCowBQYDK2VwAyEA\n-----END PUBLIC KEY-----\n"

needs_kubectl = pytest.mark.skipif(shutil.which("kubectl") is None, reason="no kubectl (Debian: kubernetes-client)")


@needs_kubectl
def test_it_prints_everything_for_two_namespaces(shoprank, tmp_path):
    (tmp_path / "key.pub").write_text(KEY)
    done = shoprank("install", "--namespace", "team-a", "--serving-namespace", "shop", "--public-key",
                    tmp_path / "key.pub", "--service-account", "default-editor")  # fmt: skip
    assert done.code == 0, done.err
    documents = {(one["kind"], one["metadata"]["namespace"], one["metadata"]["name"]): one
                 for one in yaml.safe_load_all(done.out)}  # fmt: skip
    subject = [{"kind": "ServiceAccount", "name": "default-editor", "namespace": "team-a"}]
    assert documents["RoleBinding", "team-a", "shoprank-training"]["subjects"] == subject
    assert documents["RoleBinding", "shop", "shoprank-serving"]["subjects"] == subject
    assert documents["ConfigMap", "shop", "shoprank-signing-key"]["data"] == {"signing.pem.pub": KEY}
    steps = documents["NetworkPolicy", "shop", "shoprank-predictor-steps"]["spec"]["ingress"][0]["from"]
    assert steps == [{"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "team-a"}}}]
    for namespace in ("team-a", "shop"):
        assert ("PersistentVolumeClaim", namespace, "shoprank-registry") in documents
    assert "kubeflow" not in done.out.replace("trainer.kubeflow.org", "")


@needs_kubectl
def test_one_namespace_is_the_default_and_the_key_stays(shoprank):
    done = shoprank("install", "--namespace", "team-a")
    named = [(one["kind"], one["metadata"]["name"]) for one in yaml.safe_load_all(done.out)]
    assert done.code == 0 and len(named) == len(set(named))
    assert not [name for kind, name in named if kind == "ConfigMap"]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--namespace", "Team"], "--namespace 'Team'"), (["--namespace", "a", "--serving-namespace", "-"], "'-'"),
        (["--namespace", "a", "--public-key", "none"], "--public-key none cannot be read"),
        (["--namespace", "a", "--public-key", __file__.replace("test_installing", "conftest")], "holds no public key"),
    ],
)  # fmt: skip
def test_invalid_values_are_refused_with_a_fix(shoprank, words, said):
    done = shoprank("install", *words)
    assert done.code == 2 and said in done.err and "fix:" in done.err


def test_without_kubectl_it_says_so(shoprank, monkeypatch):
    monkeypatch.setenv("PATH", "/nowhere")
    done = shoprank("install", "--namespace", "a")
    assert done.code == 2 and "kubectl is not on the PATH" in done.err


@needs_kubectl
def test_apply_shows_the_words_of_kubectl(shoprank, monkeypatch, tmp_path):
    monkeypatch.setenv("KUBECONFIG", str(tmp_path / "none"))
    done = shoprank("install", "--namespace", "a", "--apply", "--kube-context", "nobody")
    assert done.code == 1 and "nobody" in done.err and "fix:" in done.err
