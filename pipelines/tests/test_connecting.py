"""What `shoprank submit` needs to reach a KFP server, and what it says when it does not reach one."""

import socket
import threading
import time

import pytest

from pipelines.tests.kfp_api import kfp_server
from pipelines.tests.test_cli import run_command

SUBMIT = ("submit", "training", "--host")
VARIABLES = ("KF_PIPELINES_ENDPOINT", "KF_PIPELINES_UI_ENDPOINT", "KF_PIPELINES_TOKEN", "KF_PIPELINES_SA_TOKEN_PATH",
             "KF_PIPELINES_COOKIES", "KUBERNETES_SERVICE_HOST")  # fmt: skip


@pytest.fixture(autouse=True)
def nothing_in_the_environment(monkeypatch):
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)


def one_sentence(err):
    """Check that nothing but an error and its fix was written to stderr, and return both."""
    lines = err.strip().splitlines()
    assert len(lines) == 2 and lines[0].startswith("error: ") and lines[1].startswith("fix: "), err
    return lines


@pytest.mark.parametrize(
    ("how", "says", "fix"),
    [
        ({"refusal": 404}, "is not an address of Kubeflow Pipelines (404 Not Found for its API)", "ml-pipeline-ui"),
        ({"refusal": 401}, "401 Unauthorized", "--token"),
        ({"refusal": 403}, "403 Forbidden", "--cookies"),
        ({"refusal": 503}, "503 Service Unavailable", "kubectl -n kubeflow get pods"),
        ({"login": "https://dex.example.com/auth"}, "asks for a login (https://dex.example.com/auth)", "--cookies"),
        ({"page": "<!doctype html><title>x</title>"}, "is not an address of Kubeflow Pipelines", "ml-pipeline-ui"),
    ],
)
def test_answers_that_are_not_those_of_kfp_are_one_sentence(shoprank, how, says, fix):
    with kfp_server(**how) as api:
        started = time.monotonic()
        done = shoprank(*SUBMIT, api.host)
        assert time.monotonic() - started < 10
    error, what_to_do = one_sentence(done.err)
    assert done.code == 1 and done.out == ""
    assert f"--host {api.host}" in error and says in error and fix in what_to_do


def test_library_writes_nothing_to_a_process_of_its_own():
    with kfp_server(refusal=404) as api:
        done = run_command(*SUBMIT, api.host)
    one_sentence(done.stderr)
    assert done.returncode == 1 and done.stdout == "" and len(api.asked) == 1


def test_unreachable_and_unknown_hosts_are_one_sentence(shoprank):
    for host, says in (("http://127.0.0.1:9", "Connection refused"), ("http://kfp.invalid", "not known")):
        error, _ = one_sentence(shoprank(*SUBMIT, host).err)
        assert error.startswith(f"error: --host {host}: ") and says in error


def test_silent_host_is_given_up_within_ten_seconds(shoprank):
    with socket.create_server(("127.0.0.1", 0)) as listening:
        started = time.monotonic()
        done = shoprank(*SUBMIT, f"http://127.0.0.1:{listening.getsockname()[1]}")
        assert time.monotonic() - started < 10
    assert done.code == 1 and "no answer within" in done.err


def test_host_that_answers_a_byte_at_a_time_is_given_up_within_ten_seconds(shoprank):
    def trickle(listening):
        connection, _ = listening.accept()
        with connection:
            for _ in range(40):
                try:
                    connection.sendall(b"H")
                except OSError:
                    return
                time.sleep(0.5)

    with socket.create_server(("127.0.0.1", 0)) as listening:
        thread = threading.Thread(target=trickle, args=(listening,), daemon=True)
        thread.start()
        started = time.monotonic()
        done = shoprank(*SUBMIT, f"http://127.0.0.1:{listening.getsockname()[1]}")
        assert time.monotonic() - started < 10
    assert done.code == 1 and "fix:" in done.err


def test_certificate_of_an_unknown_authority_is_refused_or_given(shoprank, certificate):
    with kfp_server(certificate) as api:
        error, fix = one_sentence(shoprank(*SUBMIT, api.host).err)
        assert "certificate verify failed" in error and "--ca" in fix
        assert shoprank(*SUBMIT, api.host, "--ca", certificate).code == 0
        unchecked = shoprank(*SUBMIT, api.host, "--no-verify")
        assert unchecked.code == 0 and unchecked.err == ""
        assert len(api.runs) == 2


def test_certificate_for_another_name_is_refused(shoprank, certificate):
    with kfp_server(certificate) as api:
        done = shoprank(*SUBMIT, api.host.replace("127.0.0.1", "localhost"), "--ca", certificate)
    assert done.code == 1 and "certificate verify failed" in done.err and "localhost" in done.err


def test_https_to_a_server_without_tls_says_so(shoprank):
    with kfp_server() as api:
        done = shoprank(*SUBMIT, api.host.removeprefix("http://"))
    assert done.code == 1 and f"--host {api.host}" in done.err and "without TLS" in done.err


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("--ca", "none.pem"), "--ca none.pem"),
        (("--ca", "README.md", "--no-verify"), "--ca and --no-verify"),
        (("--token-file", "none"), "--token-file none"),
        (("--ca", "README.md"), "--ca README.md"),
    ],
)
def test_contradictions_and_missing_files_are_refused_before_anything_is_sent(shoprank, arguments, says):
    with kfp_server() as api:
        done = shoprank(*SUBMIT, api.host, *arguments)
        assert done.code == 2 and says in done.err and "fix:" in done.err
        assert api.asked == []


def test_host_is_needed_outside_a_cluster_and_has_a_default_in_one(shoprank, monkeypatch):
    done = shoprank("submit", "training")
    assert done.code == 2 and "--host" in done.err and "KF_PIPELINES_ENDPOINT" in done.err
    for host in ("http://", "ftp://kfp", "http://kfp:port"):
        assert shoprank(*SUBMIT, host).code == 2
    monkeypatch.setenv("KUBERNETES_SERVICE_HOST", "10.0.0.1")
    inside = shoprank("submit", "training")
    assert inside.code == 1 and "--host http://ml-pipeline.kubeflow.svc.cluster.local:8888" in inside.err


@pytest.mark.parametrize("way", ["--token", "KF_PIPELINES_TOKEN"])
def test_token_is_a_bearer_token_of_every_request(shoprank, monkeypatch, way):
    with kfp_server(headers={"Authorization": "Bearer secret"}) as api:
        if way.startswith("--"):
            done = shoprank(*SUBMIT, api.host, way, "secret")
        else:
            monkeypatch.setenv(way, "secret")
            done = shoprank(*SUBMIT, api.host)
    assert done.code == 0, done.err
    assert len(api.runs) == 1 and len(api.asked) >= 3
    assert "secret" not in done.out + done.err


def test_cookies_are_sent_with_every_request(shoprank, monkeypatch):
    with kfp_server(headers={"Cookie": "authservice_session=abc"}) as api:
        assert shoprank(*SUBMIT, api.host, "--cookies", "authservice_session=abc").code == 0
        monkeypatch.setenv("KF_PIPELINES_COOKIES", "authservice_session=abc")
        assert shoprank(*SUBMIT, api.host).code == 0
        monkeypatch.delenv("KF_PIPELINES_COOKIES")
        assert "401" in shoprank(*SUBMIT, api.host).err
    assert len(api.runs) == 2


def test_service_account_token_is_read_again_for_each_request(shoprank, monkeypatch, tmp_path):
    token = tmp_path / "token"
    token.write_text("t0\n")
    with kfp_server(on_request=lambda count: token.write_text(f"t{count}\n")) as api:
        monkeypatch.setenv("KF_PIPELINES_ENDPOINT", api.host)
        monkeypatch.setenv("KF_PIPELINES_SA_TOKEN_PATH", str(token))
        assert shoprank("submit", "training").code == 0
    sent = [headers["Authorization"] for _, _, headers in api.asked]
    assert sent == [f"Bearer t{count}" for count in range(len(sent))] and len(sent) >= 4


def test_multi_user_server_needs_a_namespace(shoprank):
    with kfp_server(multi_user=True) as api:
        done = shoprank(*SUBMIT, api.host)
        assert done.code == 2 and "--namespace" in done.err and "multi-user" in done.err and api.runs == []
        assert shoprank(*SUBMIT, api.host, "--namespace", "team-a").code == 0
    assert api.experiments[-1]["namespace"] == "team-a"


def test_namespace_of_kfps_own_context_is_used(monkeypatch, tmp_path):
    context = tmp_path / ".config/kfp/context.json"
    context.parent.mkdir(parents=True)
    context.write_text('{"namespace": "team-b"}')
    monkeypatch.setenv("HOME", str(tmp_path))
    with kfp_server(multi_user=True) as api:
        assert run_command(*SUBMIT, api.host).returncode == 0
    assert api.experiments[-1]["namespace"] == "team-b"
