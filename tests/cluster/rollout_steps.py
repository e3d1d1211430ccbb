"""Pods that run the stage rollout_model as a pipeline does."""

import dataclasses
import json
import subprocess
import sys

import yaml

from components.shared.evaluation.decision import Decision
from components.shared.images import DATA_IMAGE
from components.shared.release.bundle import read_manifest
from components.shared.release.proof import PROOF, Proof
from components.shared.storage import write_json
from tests.cluster.platform.layout import CHECKOUT
from tests.cluster.rollout_shop import GUARDS

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


def options(**guards):
    """Section `rollout` of the stage."""
    return {"evidence": "/mnt/shoprank/inference-log", "gateway": "shoprank", "steps": [30, 100], "poll_s": 0.5,
            "guards": json.loads(GUARDS.replace(**guards).model_dump_json())}  # fmt: skip
