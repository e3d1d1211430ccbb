"""`shoprank submit`, with and without --wait, against a server that answers as KFP does."""

import json

import pytest

from pipelines import following
from pipelines.tests.kfp_api import kfp_server
from pipelines.tests.test_cli import run_command

SUBMIT = ("submit", "training", "--host")


@pytest.fixture(autouse=True)
def quick_polls(monkeypatch):
    monkeypatch.setattr(following, "POLL_S", 0.01)


def test_submit_sends_both_documents_and_the_arguments():
    with kfp_server() as api:
        done = run_command(*SUBMIT, api.host, "--set", "size=tiny", "--set", "seed=7",
                       "--set", "ranker.hot_candidates=20", "--set", "gpus='2'")  # fmt: skip
    assert done.returncode == 0 and done.stderr == "", done.stderr
    assert done.stdout == f"{api.host}/#/runs/details/r1\n"
    sent = api.runs[-1]
    assert sent["runtime_config"]["parameters"] == {
        "size": "tiny", "seed": 7, "ranker": {"hot_candidates": 20}, "gpus": "2",
    }  # fmt: skip
    assert set(sent["pipeline_spec"]) == {"pipeline_spec", "platform_spec"}
    assert sent["pipeline_spec"]["pipeline_spec"]["pipelineInfo"]["name"] == "shoprank-training"
    assert sent["display_name"].startswith("training 20") and ".yaml" not in sent["display_name"]
    assert api.experiments[0]["display_name"] == "shoprank"


def test_name_experiment_service_account_and_root_reach_the_run(shoprank):
    with kfp_server() as api:
        done = shoprank(*SUBMIT, api.host, "--name", "black friday", "--experiment", "peak", "--service-account",
                        "trainer", "--pipeline-root", "s3://runs/x", "--ui", "https://kubeflow.example.com/pipeline",
                        "--json")  # fmt: skip
    assert done.code == 0, done.err
    assert json.loads(done.out) == {"run": "https://kubeflow.example.com/pipeline/#/runs/details/r1", "run_id": "r1"}
    sent = api.runs[-1]
    assert (sent["display_name"], sent["service_account"]) == ("black friday", "trainer")
    assert sent["runtime_config"]["pipeline_root"] == "s3://runs/x" and sent["experiment_id"] == "e1"
    assert [one["display_name"] for one in api.experiments] == ["peak"]


def test_rejected_run_shows_the_servers_sentence():
    with kfp_server(refused={"runs": (400, "Failed to create a new run: the spec is too large\ngoroutine 1")}) as api:
        done = run_command(*SUBMIT, api.host)
    assert done.returncode == 1 and done.stdout == ""
    assert "Failed to create a new run: the spec is too large" in done.stderr and "goroutine" not in done.stderr
    assert len(done.stderr.strip().splitlines()) == 2 and "fix:" in done.stderr


@pytest.mark.parametrize(("end", "code"), [("SUCCEEDED", 0), ("FAILED", 1), ("CANCELED", 3)])
def test_wait_follows_the_run_to_its_end_despite_a_server_error(shoprank, end, code):
    with kfp_server(states=["PENDING", "away", "RUNNING", end]) as api:
        done = shoprank(*SUBMIT, api.host, "--wait")
    assert done.code == code, done.err
    states = ["PENDING", "RUNNING", end]
    assert [state for state in states if f"run r1: {state}" in done.out] == states
    assert done.out.startswith(f"{api.host}/#/runs/details/r1\n"), "the address comes first"
    assert code == 0 or (f"run r1 {'was cancelled' if code == 3 else 'failed'}" in done.err and api.host in done.err)


def test_wait_ends_at_once_when_access_is_withdrawn(shoprank):
    with kfp_server(states=["PENDING"], refused={"runs/": (403, "User is not authorized with reason: x")}) as api:
        done = shoprank(*SUBMIT, api.host, "--wait")
    assert done.code == 1 and "User is not authorized" in done.err and "r1" in done.err
    assert sum("/runs/r1" in path for _, path, _ in api.asked) == 1


def test_wait_gives_up_after_two_minutes_without_the_server(shoprank):
    with kfp_server(states=["PENDING", "away"]) as api:
        done = shoprank(*SUBMIT, api.host, "--wait")
    assert done.code == 1 and "run r1" in done.err and "503" in done.err and "goes on" in done.err


@pytest.mark.parametrize("end", ["shutdown", "cut"])
def test_server_that_goes_away_while_waiting_is_named_without_the_librarys_words(shoprank, monkeypatch, end):
    monkeypatch.setattr(following, "MISSED", 2)

    def away(count):
        if count > 4 and end == "cut":
            raise ConnectionAbortedError
        if count == 4 and end == "shutdown":
            api.stop()

    with kfp_server(states=["PENDING"], on_request=away) as api:
        done = shoprank(*SUBMIT, api.host, "--wait")
    assert done.code == 1 and "run r1 goes on, but --host" in done.err and len(done.err.splitlines()) == 2
    assert "object at 0x" not in done.err and "Max retries" not in done.err
    assert ("Connection refused" if end == "shutdown" else "closed connection") in done.err


NODES = [
    {"display_name": "shoprank-training-ab1", "pod_name": "shoprank-training-ab1", "state": "FAILED",
     "child_tasks": [{"pod_name": "shoprank-training-ab1-10"}]},
    {"display_name": "root", "pod_name": "shoprank-training-ab1-root-10", "state": "FAILED",
     "child_tasks": [{"pod_name": "shoprank-training-ab1-20"}]},
    {"display_name": "train-ranker-driver", "pod_name": "shoprank-training-ab1-system-container-driver-20",
     "state": "SUCCEEDED", "child_tasks": [{"pod_name": "shoprank-training-ab1-30"}]},
    {"display_name": "train-ranker", "pod_name": "shoprank-training-ab1-system-container-executor-30",
     "state": "FAILED", "child_tasks": [{"pod_name": "shoprank-training-ab1-40"}]},
    {"display_name": "executor", "pod_name": "shoprank-training-ab1-retry-system-container-impl-40",
     "state": "FAILED", "end_time": "2026-11-30T10:00:09Z",
     "child_tasks": [{"pod_name": "shoprank-training-ab1-41"}, {"pod_name": "shoprank-training-ab1-42"}]},
    {"display_name": "executor(0)", "pod_name": "shoprank-training-ab1-retry-system-container-impl-41",
     "state": "FAILED", "end_time": "2026-11-30T10:00:02Z"},
    {"display_name": "executor(1)", "pod_name": "shoprank-training-ab1-retry-system-container-impl-42",
     "state": "FAILED", "end_time": "2026-11-30T10:00:09Z"},
    {"display_name": "evaluate-model-driver", "pod_name": "shoprank-training-ab1-50", "state": "SKIPPED"},
]  # fmt: skip
"""The nodes of a run as KFP 2.17 reports them: `pod_name` is a pod's name, children are named by Argo's node ID."""


def test_failed_step_is_named_with_its_last_lines(shoprank):
    log = (
        "".join(f"line {number}\n" for number in range(100)) + "error: users.parquet lacks user_id\n  fix: [b] add it\n"
    )
    pod = "shoprank-training-ab1-retry-system-container-impl-42"
    with kfp_server(states=["RUNNING", "FAILED"], details={"run_details": {"task_details": NODES}},
                    logs={pod: log, pod.replace("42", "41"): "the first attempt\n"}) as api:  # fmt: skip
        done = shoprank(*SUBMIT, api.host, "--wait")
        machine = shoprank(*SUBMIT, api.host, "--wait", "--json")
    assert done.code == 1 and "run r1 failed: step train-ranker" in done.err
    assert "fix: see" in done.err and f"{api.host}/#/runs/details/r1" in done.err
    assert "error: users.parquet lacks user_id" in done.err and "fix: [b] add it" in done.err
    assert "line 99" in done.err and "line 10\n" not in done.err and "first attempt" not in done.err
    assert machine.code == 1
    found = json.loads(machine.out)
    assert (found["state"], found["cancelled"]) == ("FAILED", False)
    assert found["failed_steps"][0]["step"] == "train-ranker"
    assert found["failed_steps"][0]["last_lines"][-2:] == ["error: users.parquet lacks user_id", "  fix: [b] add it"]


def test_failed_driver_and_the_error_of_a_task_are_named_without_a_log(shoprank):
    nodes = [
        {"display_name": "root", "pod_name": "w-root-1", "state": "FAILED", "child_tasks": [{"pod_name": "w-2"}]},
        {"display_name": "ingest-events-driver", "pod_name": "w-system-container-driver-2", "state": "FAILED",
         "error": {"code": 13, "message": "claim shoprank-registry not found"}},
    ]  # fmt: skip
    with kfp_server(states=["FAILED"], details={"run_details": {"task_details": nodes}}) as api:
        done = shoprank(*SUBMIT, api.host, "--wait")
    assert done.code == 1 and "step ingest-events (its driver): claim shoprank-registry not found" in done.err
    assert "no log" in done.err


def test_run_without_details_says_that_the_server_names_no_step(shoprank):
    with kfp_server(states=["FAILED"], details={"error": {"code": 13, "message": "workflow too large"}}) as api:
        done = shoprank(*SUBMIT, api.host, "--wait")
    assert done.code == 1 and "workflow too large" in done.err and "names no failed step" in done.err


@pytest.mark.parametrize(
    ("states", "details"),
    [
        (["RUNNING", "CANCELING", "FAILED"], {}),
        (["RUNNING", "CANCELING", "RUNNING", "FAILED"], {}),
        (["RUNNING", "FAILED"], {"state_history": [{"state": "RUNNING"}, {"state": "CANCELING"}, {"state": "FAILED"}]}),
    ],
)
def test_terminated_run_that_kfp_calls_failed_is_told_from_a_failure(shoprank, states, details):
    with kfp_server(states=list(states), details={**details, "run_details": {"task_details": NODES}}) as api:
        done = shoprank(*SUBMIT, api.host, "--wait", "--json")
    assert done.code == 3 and "run r1 was cancelled" in done.err and "train-ranker" not in done.err
    assert json.loads(done.out)["cancelled"] is True
