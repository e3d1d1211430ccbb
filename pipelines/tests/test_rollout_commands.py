"""`shoprank rollout` without a cluster that answers: one sentence, soon."""

import time

import pytest


def kubeconfig(path, server: str):
    path.write_text(
        "apiVersion: v1\nkind: Config\ncurrent-context: c\n"
        f"clusters: [{{name: c, cluster: {{server: '{server}', insecure-skip-tls-verify: true}}}}]\n"
        "contexts: [{name: c, context: {cluster: c, user: u}}]\nusers: [{name: u, user: {token: x}}]\n"
    )
    return path


@pytest.mark.parametrize("command", ["status", "abort"])
@pytest.mark.parametrize(
    ("server", "said"), [("https://127.0.0.1:1", "Connection refused"), ("https://nowhere.invalid", "resolve")]
)
def test_api_server_that_does_not_answer_is_said_within_seconds(shoprank, tmp_path, monkeypatch, command, server, said):
    monkeypatch.setenv("KUBECONFIG", str(kubeconfig(tmp_path / "config", server)))
    started = time.monotonic()
    done = shoprank("rollout", command, "--service", "shop", "--namespace", "n")
    assert done.code and said in done.err and "HTTPSConnectionPool" not in done.err
    assert done.err.count("\n") == 2 and time.monotonic() - started < 20


def test_kubeconfig_that_is_no_yaml_is_named(shoprank, tmp_path, monkeypatch):
    (tmp_path / "config").write_text("this: [is not")
    monkeypatch.setenv("KUBECONFIG", str(tmp_path / "config"))
    done = shoprank("rollout", "status")
    assert done.code == 2 and "no Kubernetes cluster found" in done.err and "Traceback" not in done.err
