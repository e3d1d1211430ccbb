"""The decisions of a rollout in a Job: the pipeline's pod and the Job's own may be lost, and a person can abort it."""

import dataclasses
import json
import subprocess
import sys

import pytest
import yaml

from components.shared.cluster.kinds import LEASE
from components.shared.evaluation.decision import Decision
from components.shared.images import DATA_IMAGE
from components.shared.release.bundle import read_manifest
from components.shared.release.proof import PROOF, Proof
from components.shared.storage import write_json
from components.shared.tests.waiting import eventually
from tests.cluster.faults import log_fault
from tests.cluster.platform.layout import CHECKOUT
from tests.cluster.rollout_shop import GUARDS, Shoppers

pytestmark = [pytest.mark.filterwarnings("ignore:Unverified HTTPS request"), pytest.mark.slow]

STEP = """
import json, sys
from pathlib import Path
from kfp.dsl import HTML, Artifact, Metrics
from components.rollout_model.component import rollout_model
given = json.loads(sys.argv[1])
volume = "/mnt/shoprank"
print(rollout_model.python_func(
    proof=Artifact(uri=f"{volume}/gates/proof"), evaluation=Artifact(uri=f"{volume}/gates/evaluation"),
    registry=f"{volume}/registry", model_name="handmade", version=given["version"],
    record=Artifact(uri="/tmp/record"), page=HTML(uri="/tmp/page.html"), result=Metrics(uri="/tmp/result"),
    release={}, rollout=given["rollout"],
))
"""


class Steps:
    """Pods that run the stage as a pipeline does."""

    def __init__(self, shop, candidate, rollout):
        self.shop, self.namespace = shop, shop.namespace
        self._given = json.dumps({"version": candidate, "rollout": rollout})
        volume = shop.namespace.folder
        content = read_manifest(shop.registry.resolve(f"handmade/{candidate}")).content
        proof = Proof(name="handmade", version=candidate, content=content, golden=3, max_score_difference=0, requests=1,
                      p50_ms=1, p99_ms=2, memory_mb=9, startup_s=1, max_p99_ms=5, max_memory_mb=500)  # fmt: skip
        write_json(volume / "gates" / "proof" / PROOF, dataclasses.asdict(proof))
        (volume / "gates" / "evaluation").mkdir()
        Decision(True, (), {}).write(volume / "gates" / "evaluation")
        # One volume for the steps and this process, which is another user.
        subprocess.run(["chmod", "-R", "a+rwX", volume], check=True)
        self.namespace.kubectl("create", "serviceaccount", "pipeline-runner")
        install = [sys.executable, "-m", "pipelines.cli.app", "install", "--namespace", self.namespace.name,
                   "--serving-namespace", self.namespace.name]  # fmt: skip
        rendered = subprocess.run(install, cwd=CHECKOUT, capture_output=True, text=True, check=True).stdout
        # The volume is there, as a folder of the test.
        wanted = [one for one in yaml.safe_load_all(rendered) if one["kind"] in ("Role", "RoleBinding")]
        given = json.dumps({"apiVersion": "v1", "kind": "List", "items": wanted})
        self.namespace.platform.kubectl("apply", "--server-side", "-f", "-", given=given)

    def start(self, name):
        """Start an attempt of the step."""
        secure = {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}, "runAsNonRoot": True,
                  "seccompProfile": {"type": "RuntimeDefault"}}  # fmt: skip
        pod = {
            "apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "labels": {"pipeline/runid": "run-1"}},
            "spec": {"serviceAccountName": "pipeline-runner", "restartPolicy": "Never", "containers": [{
                "name": "main", "image": DATA_IMAGE, "command": ["python", "-c", STEP, self._given],
                "securityContext": secure, "volumeMounts": [{"name": "registry", "mountPath": "/mnt/shoprank"}],
                "resources": {"requests": {"cpu": "20m", "memory": "100Mi"}}}],
                "volumes": [{"name": "registry", "persistentVolumeClaim": {"claimName": "shoprank-registry"}}]},
        }  # fmt: skip
        self.namespace.kubectl("apply", "-f", "-", given=json.dumps(pod))

    def phase(self, name):
        """Phase of an attempt."""
        return self.namespace.kubectl("get", "pod", name, "-o", "jsonpath={.status.phase}")

    def log(self, name):
        """What an attempt has printed."""
        return self.namespace.kubectl("logs", name)

    def job_pods(self):
        """Pods of the Job."""
        found = self.namespace.kubectl("get", "pods", "-l", "app.kubernetes.io/component=rollout", "-o", "name")
        return found.split()


def command(shop, *words):
    """Run `shoprank rollout ...` and return its JSON."""
    line = [sys.executable, "-m", "pipelines.cli.app", "rollout", *words, "--namespace", shop.namespace.name, "--json"]
    environment = {"KUBECONFIG": str(shop.namespace.platform.kubeconfig), "PATH": "/usr/bin:/bin", "HOME": "/tmp"}
    done = subprocess.run(line, cwd=CHECKOUT, capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def options(**guards):
    """Section `rollout` of the stage."""
    return {"evidence": "/mnt/shoprank/inference-log", "gateway": "shoprank", "steps": [30, 100], "poll_s": 0.5,
            "guards": json.loads(GUARDS.replace(**guards).model_dump_json())}  # fmt: skip


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
