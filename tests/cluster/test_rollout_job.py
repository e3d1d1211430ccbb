"""The decisions of a rollout in a Job: the pipeline's pod and the Job's own may be lost, and a person can abort it."""

import json
import subprocess
import sys

import pytest

from components.shared.cluster.kinds import LEASE
from components.shared.tests.waiting import eventually
from tests.cluster.faults import log_fault
from tests.cluster.platform.layout import CHECKOUT
from tests.cluster.rollout_shop import Shoppers
from tests.cluster.rollout_steps import Steps, options

pytestmark = [pytest.mark.filterwarnings("ignore:Unverified HTTPS request"), pytest.mark.slow]


def command(shop, *words):
    """Run `shoprank rollout ...` and return its JSON."""
    line = [sys.executable, "-m", "pipelines.cli.app", "rollout", *words, "--namespace", shop.namespace.name, "--json"]
    environment = {"KUBECONFIG": str(shop.namespace.platform.kubeconfig), "PATH": "/usr/bin:/bin", "HOME": "/tmp"}
    done = subprocess.run(line, cwd=CHECKOUT, capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_lost_pods_of_pipeline_and_job_do_not_stop_a_rollout(shop, registered):
    candidate = registered[2]
    steps = Steps(shop, candidate, options(min_duration_s=6.0))
    with Shoppers(shop.open()) as shoppers:
        steps.start("first")
        assert eventually(lambda: shop.traffic().percent() == 30, 120), steps.log("first")
        steps.namespace.kubectl("delete", "pod", "first", "--force", "--grace-period=0")
        (pod,) = steps.job_pods()
        steps.namespace.kubectl("delete", pod, "--force", "--grace-period=0")
        assert eventually(lambda: steps.job_pods() not in ([], [pod]), 60), "the Job makes a new pod"
        steps.start("second")
        assert eventually(lambda: steps.phase("second") in ("Succeeded", "Failed"), 150)
    assert steps.log("second").splitlines()[-1] == "promoted"
    assert shop.served() == candidate == shop.registry.aliases("handmade")["champion"]
    assert shoppers.failed == {} and shop.actions().count("rollout_begin") == 1
    assert not shop.cluster.get(LEASE, "shoprank-release")["spec"].get("holderIdentity")
    log_fault("pods of the pipeline's step and of the deciding Job deleted at 30 %",
              "the Job's next pod went on; the step's next attempt got its result", 0)  # fmt: skip


def test_rollout_is_shown_and_aborted_without_the_pipeline(shop, registered):
    candidate, pods = registered[2], shop.champion_pods()
    steps = Steps(shop, candidate, options(min_sample=10_000, max_duration_s=300.0))
    with Shoppers(shop.open()) as shoppers:
        steps.start("step")
        assert eventually(lambda: shop.traffic().percent() == 30, 120), steps.log("step")
        shown = command(shop, "status")
        assert (shown["champion"], shown["candidate"], shown["percent"]) == (shop.champion, candidate, 30)
        assert shown["decided_by"].startswith("shoprank-rollout-") and shown["ready"] and shown["route"] == ""
        assert shown["not_serving"] == ""
        assert command(shop, "abort", "--reason", "the shop asked for it") == {"champion": shop.champion}
        assert eventually(lambda: steps.phase("step") in ("Succeeded", "Failed"), 60)
    assert steps.log("step").splitlines()[-1] == "rolled_back"
    assert "the shop asked for it" in shop.registry.audit("handmade").entries()[-1]["reasons"][0]
    assert command(shop, "status")["candidate"] == "" and shoppers.failed == {}
    assert shop.champion_pods() == pods and "canary" not in shop.service()["spec"]


def test_rollout_that_nobody_decides_is_aborted_from_outside(shop, registered):
    traffic = shop.traffic()
    with Shoppers(shop.open()) as shoppers:
        traffic.launch(registered[2])
        traffic.shift(60)
        assert command(shop, "status")["decided_by"] == ""
        assert command(shop, "abort") == {"champion": shop.champion}
    assert shop.weights() == {"shoprank-predictor": 100} and "canary" not in shop.service()["spec"]
    assert shoppers.failed == {} and shop.traffic().candidate() == ""
    shop.namespace.kubectl("delete", "pods", "--all", "--force", "--grace-period=0")
    assert command(shop, "status")["not_serving"], "the champion's pods are being started"
    assert eventually(lambda: command(shop, "status")["not_serving"] == "", 90)
