"""Names of namespaces and services are checked before anything is asked of a cluster or a KFP server."""

import pytest

from pipelines.tests.kfp_api import kfp_server
from pipelines.tests.kube_api import kube_server, kubeconfig


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("submit", "training", "--namespace", "Team"), "--namespace 'Team'"),
        (("submit", "training", "--service-account", "a b"), "--service-account 'a b'"),
        (("submit", "training", "--set", "release.namespace=Shop"), "release.namespace: 'Shop'"),
        (("submit", "training", "--set", "release.service=my_shop"), "release.service: 'my_shop'"),
        (("schedule", "training", "--cron", "0 2 * * *", "--namespace", "-a"), "--namespace '-a'"),
        (("upload", "training", "--namespace", "a" * 64), f"--namespace '{'a' * 64}'"),
    ],
)
def test_a_pipeline_server_is_not_asked(shoprank, tmp_path, monkeypatch, words, said):
    monkeypatch.setenv("KUBECONFIG", str(tmp_path / "none"))
    with kfp_server() as api:
        done = shoprank(*words, "--host", api.host)
    assert done.code == 2 and said in done.err and "is not a name in Kubernetes" in done.err, done.err
    assert "fix: use a-z, 0-9 and -" in done.err and api.asked == []


@pytest.mark.parametrize("command", ["status", "abort"])
@pytest.mark.parametrize("words", [("--namespace", "a.b"), ("--service", "Shop"), ("--service", "")])
def test_a_cluster_is_not_asked(shoprank, tmp_path, monkeypatch, command, words):
    with kube_server() as api:
        monkeypatch.setenv("KUBECONFIG", str(kubeconfig(tmp_path / "config", api.host)))
        done = shoprank("rollout", command, *words)
    assert done.code == 2 and f"{words[0]} {words[1]!r} is not a name" in done.err and api.asked == []
