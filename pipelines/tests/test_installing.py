"""`shoprank install` without a cluster; tests/cluster/test_install.py applies it."""

import shutil

import pytest
import yaml

from pipelines.tests.kube_api import kube_server, kubeconfig

DISCOVERY = {
    "/api": {"kind": "APIVersions", "versions": ["v1"], "serverAddressByClientCIDRs": []},
    "/apis": {"kind": "APIGroupList", "apiVersion": "v1", "groups": []},
    "/api/v1": {"kind": "APIResourceList", "groupVersion": "v1", "resources": [
        {"name": plural, "singularName": "", "namespaced": kind != "Namespace", "kind": kind,
         "verbs": ["create", "delete", "get", "list", "patch"]}
        for plural, kind in (("namespaces", "Namespace"), ("secrets", "Secret"), ("configmaps", "ConfigMap"))
    ]},
}  # fmt: skip
"""What kubectl asks before it asks for an object."""
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
def test_apply_names_a_context_that_is_not_there(shoprank, monkeypatch, tmp_path):
    monkeypatch.setenv("KUBECONFIG", str(tmp_path / "none"))
    done = shoprank("install", "--namespace", "a", "--apply", "--kube-context", "nobody")
    assert done.code == 1 and "error: the kubeconfig has no context nobody\n" in done.err
    assert done.err.endswith("\nkubectl config get-contexts\n")


@needs_kubectl
@pytest.mark.parametrize("command", [("install",), ("keys", "create")])
def test_a_cluster_that_does_not_answer_is_said_in_one_sentence(shoprank, monkeypatch, tmp_path, command):
    words = (*command, "--namespace", "a", "--apply")
    monkeypatch.setenv("KUBECONFIG", str(tmp_path / "none"))
    done = shoprank(*words)
    assert done.code == 1 and "error: kubectl found no kubeconfig: it asked localhost:8080\n" in done.err
    config = kubeconfig(tmp_path / "config", "https://127.0.0.1:9", {"token": "t"})
    monkeypatch.setenv("KUBECONFIG", str(config))
    done = shoprank(*words)
    assert (
        done.code == 1
        and "API server 127.0.0.1:9" in done.err.replace("https://", "")
        and "gives no answer: connection refused" in done.err
    )
    assert "--validate" not in done.err and done.err.endswith("\nkubectl config get-contexts\n")
    assert len(done.err.splitlines()) == 3


@needs_kubectl
@pytest.mark.parametrize("command", [("install",), ("keys", "create")])
def test_a_cluster_that_refuses_the_login_or_is_not_trusted_is_said(
    shoprank, monkeypatch, tmp_path, command, certificate
):
    words = (*command, "--namespace", "a", "--apply")
    for refusal in ((401, "Unauthorized"), (403, 'namespaces is forbidden: User "system:anonymous" cannot get it')):
        with kube_server(refusal=refusal) as api:
            monkeypatch.setenv("KUBECONFIG", str(kubeconfig(tmp_path / "config", api.host, {"token": "t"})))
            done = shoprank(*words)
        assert done.code == 1 and "does not accept the login of the kubeconfig\nfix: log in again" in done.err, done.err
    with kube_server(certificate) as api:
        monkeypatch.setenv("KUBECONFIG", str(kubeconfig(tmp_path / "config", api.host, {"token": "t"})))
        done = shoprank(*words)
    assert done.code == 1 and "the certificate of the API server is not trusted: " in done.err, done.err
    assert done.err.endswith("\nkubectl config set-cluster CLUSTER --certificate-authority=FILE\n")


@needs_kubectl
@pytest.mark.parametrize("command", [("install",), ("keys", "create")])
def test_nothing_is_applied_when_a_namespace_is_missing(shoprank, monkeypatch, tmp_path, command):
    space = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "team-a"}}
    with kube_server(objects={"/api/v1/namespaces/team-a": space} | DISCOVERY) as api:
        monkeypatch.setenv("KUBECONFIG", str(kubeconfig(tmp_path / "config", api.host, {"token": "t"})))
        done = shoprank(*command, "--namespace", "team-a", "--serving-namespace", "shop", "--apply")
    assert done.code == 1, done.err
    assert done.err == (
        "error: the cluster has no namespace shop; nothing was applied\n"
        "fix: create it first:\nkubectl create namespace shop\n"
    )
    assert "PATCH" not in api.methods and "POST" not in api.methods


def test_errors_of_kubectl_are_said_once(shoprank, monkeypatch, tmp_path):
    line = "Error from server (Forbidden): roles is forbidden"
    (tmp_path / "kubectl").write_text(
        f'#!/bin/sh\ncase "$*" in *apply*) for i in 1 2 3; do echo "{line}" >&2; done; exit 1;; esac\n'
    )
    (tmp_path / "kubectl").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    done = shoprank("install", "--namespace", "a", "--apply")
    assert done.code == 1 and done.err.startswith(f"error: kubectl apply failed: {line}\nfix: check the context")
