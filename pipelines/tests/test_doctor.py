"""`shoprank doctor` and `submit` without a cluster that answers; tests/cluster/test_doctor.py has one."""

import contextlib
import json
import socket
import time

import pytest

from pipelines.doctor import diagnosis
from pipelines.doctor.diagnosis import has_kubeconfig, plan_of, quick_diagnosis
from pipelines.doctor.needs import Plan
from pipelines.tests.kfp_api import kfp_server
from pipelines.tests.kube_api import kube_server, kubeconfig


def test_doctor_names_a_server_that_is_not_there(shoprank, tmp_path, monkeypatch):
    monkeypatch.setenv("KUBECONFIG", str(kubeconfig(tmp_path / "config", "https://127.0.0.1:9")))
    started = time.monotonic()
    done = shoprank("doctor", "--namespace", "team-a")
    assert done.code == 1 and "https://127.0.0.1:9 is unreachable" in done.err and "--kube-context" in done.err
    assert time.monotonic() - started < 10
    done = shoprank("doctor", "--namespace", "team-a", "--kube-context", "nobody")
    assert done.code == 2 and "nobody" in done.err and "fix:" in done.err


def test_submit_goes_on_when_the_cluster_does_not_answer(shoprank, tmp_path, monkeypatch):
    monkeypatch.setattr(diagnosis, "DEADLINE_S", 1.0)
    with contextlib.closing(socket.create_server(("127.0.0.1", 0))) as silent, kfp_server() as api:
        for server in ("https://127.0.0.1:9", f"https://127.0.0.1:{silent.getsockname()[1]}"):
            monkeypatch.setenv("KUBECONFIG", str(kubeconfig(tmp_path / "config", server)))
            done = shoprank("submit", "training", "--host", api.host)
            assert done.code == 0 and "/runs/details/r1" in done.out
            assert done.err.startswith("note: the cluster was not checked: ") and done.err.count("\n") == 1
        started = time.monotonic()
        assert quick_diagnosis(Plan(namespace="team-a")) == ([], "no answer within 1 s")
        assert time.monotonic() - started < 10, "the silent server is not waited for"


def test_submit_without_a_kubeconfig_says_nothing(shoprank, tmp_path, monkeypatch):
    monkeypatch.setenv("KUBECONFIG", str(tmp_path / "none"))
    assert not has_kubeconfig()
    with kfp_server() as api:
        done = shoprank("submit", "training", "--host", api.host)
    assert done.code == 0 and done.err == ""


@pytest.mark.parametrize(
    ("arguments", "plan"),
    [
        ({}, Plan(namespace="kubeflow")),
        ({"training": {"launch": "trainjob"}}, Plan(namespace="kubeflow", train_jobs=True)),
        ({"release": {"backend": "kserve"}}, Plan(namespace="kubeflow", serving_namespace="kubeflow")),
        (
            {
                "strategy": "guarded",
                "release": {"namespace": "shop", "storage": "s3://b/r"},
                "rollout": {"gateway": "g"},
            },
            Plan(namespace="kubeflow", serving_namespace="shop", guarded=True, gateway="g", object_store=True),
        ),
        ({"rollout": {"gateway": "g"}}, Plan(namespace="kubeflow")),
    ],
)
def test_plan_follows_the_arguments_of_the_run(arguments, plan):
    assert plan_of("training", arguments, "", "") == plan


def test_steps_of_a_profile_run_as_its_editor():
    assert plan_of("training", {}, "team-a", "") == Plan(namespace="team-a", service_account="default-editor")
    assert plan_of("training", {}, "team-a", "trainer").service_account == "trainer"
    assert plan_of("training", {}, "kubeflow", "").service_account == "pipeline-runner"


def test_a_study_signs_nothing():
    assert not plan_of("tuning", {}, "", "").signs


@pytest.fixture
def doctor(shoprank, tmp_path, monkeypatch):
    """A function that runs the command with the kubeconfig of a server."""

    def run(api, *words):
        monkeypatch.setenv("KUBECONFIG", str(kubeconfig(tmp_path / "config", api.host)))
        return shoprank("doctor", "--namespace", "team-a", *words)

    return run


def last_line(done):
    return done.out.strip().splitlines()[-1]


@pytest.mark.parametrize(
    ("refusal", "cause", "fix"),
    [
        ((401, "Unauthorized"), "does not accept the login of the kubeconfig (401)", "log in again"),
        ((403, 'x is forbidden: User "system:anonymous" cannot get'), "carry no login", "log in again"),
        ((400, "Client sent an HTTP request to an HTTPS server.\n"), "expects https", "--server=https://ADDRESS"),
        ((403, ""), "forbidden (403): ann may not read it", "--kube-context"),
        ((500, "etcd\n  is away"), "the API server answered 500: etcd is away", "log of the API server"),
    ],
)
def test_a_cluster_that_refuses_everything_is_said_once(doctor, refusal, cause, fix):
    with kube_server(refusal=refusal) as api:
        done = doctor(api)
        answer = json.loads(doctor(api, "--json").out)
    count = len(answer["findings"])
    assert done.code == 1 and last_line(done) == f"{count} needs, 0 missing, {count} not checked"
    assert done.out.count(cause) == 1 and fix in done.out and "not checked: everything: " in done.out
    assert "get Pod" not in done.out and len(done.out.splitlines()) < count + 8
    assert (answer["missing"], answer["unknown"]) == (0, count)


def test_a_certificate_that_is_not_trusted_is_said_once(doctor, certificate):
    with kube_server(certificate) as api:
        done = doctor(api)
    assert done.code == 1 and done.out.count("the certificate of the API server is not trusted: self") == 1, done.out
    assert "    kubectl config set-cluster CLUSTER --certificate-authority=FILE\n" in done.out
    assert ", 0 missing, " in last_line(done)


def test_rights_that_are_lacking_for_some_needs_name_these(doctor):
    team = {
        "/api/v1/namespaces/team-a": {"metadata": {"name": "team-a"}},
        "/api/v1/namespaces/team-a/pods": {"items": []},
    }
    with kube_server(objects=team, refused={"/secrets/": (403, "")}) as api:
        done = doctor(api, "--no-deploy")
    assert "not checked: Secret shoprank-signing-key in team-a: forbidden (403): ann may not read it\n" in done.out
    assert done.code == 1 and last_line(done).endswith(" missing, 1 not checked")


def test_submit_says_why_the_cluster_was_not_checked(shoprank, tmp_path, monkeypatch):
    with kube_server(refusal=(401, "Unauthorized")) as kube, kfp_server() as api:
        monkeypatch.setenv("KUBECONFIG", str(kubeconfig(tmp_path / "config", kube.host)))
        done = shoprank("submit", "training", "--host", api.host)
    assert done.code == 0 and done.err.count("\n") == 1 and "does not accept the login" in done.err


def test_a_namespace_that_is_not_there_is_said_first_and_nothing_in_it_is_fine(doctor):
    with kube_server() as api:
        done = doctor(api, "--serving-namespace", "shop")
        found = {(one["need"], one["namespace"]): one for one in json.loads(doctor(
            api, "--serving-namespace", "shop", "--json").out)["findings"]}  # fmt: skip
    said = [line for line in done.out.splitlines() if line.startswith("missing: ")]
    assert said[:2] == ["missing: namespace in team-a", "missing: namespace in shop"]
    assert "  fix:\n    kubectl create namespace shop\n" in done.out
    for need, place in (("images", "team-a"), ("images", "shop"), ("steps reach predictors", "shop")):
        one = found[need, place]
        assert one["state"] == "unknown" and one["found"] == f"namespace {place} does not exist"


@pytest.mark.parametrize(
    "words",
    [("--namespace", ""), ("--namespace", "Team_A"), ("--serving-namespace", "a.b"), ("--gateway", "-g"),
     ("--kfp-namespace", ""), ("--service-account", "x y")],
)  # fmt: skip
def test_invalid_names_are_refused_before_the_cluster_is_asked(doctor, words):
    with kube_server() as api:
        done = doctor(api, *words)
    assert done.code == 2 and f"{words[0]} {words[1]!r} is not a name" in done.err and api.asked == []
