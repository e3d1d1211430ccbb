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


def kubeconfig(path, server):
    """Write the kubeconfig of a server that needs no login."""
    path.write_text(json.dumps({
        "apiVersion": "v1", "kind": "Config", "current-context": "c",
        "clusters": [{"name": "c", "cluster": {"server": server}}], "users": [{"name": "u", "user": {}}],
        "contexts": [{"name": "c", "context": {"cluster": "c", "user": "u"}}],
    }))  # fmt: skip
    return path


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
