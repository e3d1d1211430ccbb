"""Pods of pipeline steps, made from a compiled pipeline's executors as KFP's driver makes them."""

import contextlib
import json
import time
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from components.shared.cluster.api import Cluster
from pipelines.installing import STEPS_ACCOUNT
from tests.cluster.namespaces import Namespace

Json = dict[str, Any]

ARTIFACTS_CLAIM, ARTIFACTS_MOUNT = "shoprank-artifacts", "/minio"
"""The artifacts' volume, and where every step has it: KFP's launcher copies minio:// artifacts to that place."""

STEP_S = 420.0
"""Until a step must have ended."""

REQUESTED_CPU = "50m"
"""Request of every step: other tests' pods share the node's two CPUs."""

_SECURITY = {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]},
             "seccompProfile": {"type": "RuntimeDefault"}}  # fmt: skip
"""What KFP 2.17 itself sets on a step's container."""

_OWN_VARIABLES = [
    {"name": name, "valueFrom": {"fieldRef": {"fieldPath": path}}}
    for name, path in (("KFP_POD_NAME", "metadata.name"), ("KFP_POD_UID", "metadata.uid"))
]


@dataclass(frozen=True, kw_only=True)
class PodSpecification:
    """What the two documents of a compiled pipeline say of a step's pod.

    Attributes:
        name: of the pod. run: id of the pipeline run. container: executor with resolved resources.
        platform: its settings for Kubernetes.
    """

    name: str
    run: str
    container: Json
    platform: Json

    @cached_property
    def env(self) -> list[Json]:
        """Environment: constants, keys of Secrets, fields of the pod."""
        found = [dict(one) for one in self.container.get("env", [])]
        for secret in self.platform.get("secretAsEnv", []):
            name = _constant(secret["secretNameParameter"])
            for one in secret["keyToEnv"]:
                reference = {"name": name, "key": one["secretKey"], "optional": secret.get("optional", False)}
                found.append({"name": one["envVar"], "valueFrom": {"secretKeyRef": reference}})
        for one in self.platform.get("fieldPathAsEnv", []):
            found.append({"name": one["name"], "valueFrom": {"fieldRef": {"fieldPath": one["fieldPath"]}}})
        return found

    @cached_property
    def volumes(self) -> list[tuple[Json, str]]:
        """(volume, where it is mounted) of claims, empty folders, Secrets and ConfigMaps."""
        found: list[tuple[Json, str]] = []
        for one in self.platform.get("pvcMount", []):
            claim = _constant(one["pvcNameParameter"])
            found.append(({"name": claim, "persistentVolumeClaim": {"claimName": claim}}, one["mountPath"]))
        for one in self.platform.get("emptyDirMounts", []):
            empty = {name: one[name] for name in ("medium", "sizeLimit") if name in one}
            found.append(({"name": one["volumeName"], "emptyDir": empty}, one["mountPath"]))
        for one in self.platform.get("secretAsVolume", []):
            name = _constant(one["secretNameParameter"])
            secret = {"secretName": name, "optional": one.get("optional", False)}
            found.append(({"name": f"secret-{name}", "secret": secret}, one["mountPath"]))
        for one in self.platform.get("configMapAsVolume", []):
            name = _constant(one["configMapNameParameter"])
            config_map = {"name": name, "optional": one.get("optional", False)}
            found.append(({"name": f"config-map-{name}", "configMap": config_map}, one["mountPath"]))
        return found

    @cached_property
    def resources(self) -> Json:
        """Requests and limits."""
        given = self.container.get("resources", {})
        found: Json = {"requests": {}, "limits": {}}
        for kind, part in (("Request", "requests"), ("Limit", "limits")):
            for field, name in (("resourceCpu", "cpu"), ("resourceMemory", "memory")):
                if field + kind in given:
                    found[part][name] = given[field + kind]
        if "accelerator" in given:
            found["limits"][given["accelerator"]["resourceType"]] = given["accelerator"]["resourceCount"]
        return found

    def task_config(self) -> Json:
        """dsl.TaskConfig: what the step passes on to pods that it makes."""
        mounts = [{"name": volume["name"], "mountPath": path} for volume, path in self.volumes]
        return {"resources": self.resources, "env": self.env, "tolerations": self.platform.get("tolerations", []),
                "volumes": [volume for volume, _ in self.volumes], "volumeMounts": mounts}  # fmt: skip

    def pod(self, given: Json) -> Json:
        """The pod.

        Args:
            given: Executor input.
        """
        context = {key: int(value) if isinstance(value, str) else value
                   for key, value in self.platform.get("securityContext", {}).items()}  # fmt: skip
        resources = {**self.resources, "requests": {**self.resources["requests"], "cpu": REQUESTED_CPU}}
        artifacts = {"name": "artifacts", "persistentVolumeClaim": {"claimName": ARTIFACTS_CLAIM}}
        volumes = [*self.volumes, (artifacts, ARTIFACTS_MOUNT)]
        main = {
            "name": "main", "image": self.container["image"], "command": self.container["command"],
            "args": [json.dumps(given) if one == "{{$}}" else one for one in self.container["args"]],
            "env": [*self.env, *_OWN_VARIABLES], "resources": resources, "securityContext": _SECURITY | context,
            "volumeMounts": [{"name": volume["name"], "mountPath": path} for volume, path in volumes],
        }  # fmt: skip
        return {
            "apiVersion": "v1", "kind": "Pod",
            "metadata": {"name": self.name, "labels": {"pipeline/runid": self.run}},
            "spec": {"serviceAccountName": STEPS_ACCOUNT, "restartPolicy": "Never", "containers": [main],
                     "tolerations": self.platform.get("tolerations", []), "volumes": [one for one, _ in volumes]},
        }  # fmt: skip


class StepPods:
    """Runs pods of steps in a namespace.

    Args:
        namespace: Where the steps' account, claims and keys are.
        artifacts: Folder of the artifacts' volume on this machine.
    """

    def __init__(self, namespace: Namespace, artifacts: Path):
        self.artifacts = artifacts
        self._namespace = namespace
        self._cluster: Cluster = namespace.connect()

    def run(self, specification: PodSpecification, given: Json) -> None:
        """Run a step to its end.

        Raises:
            AssertionError: it failed, or did not end; the message holds its last lines.
        """
        name, deadline = specification.name, time.monotonic() + STEP_S
        self._namespace.kubectl("create", "-f", "-", given=json.dumps(specification.pod(given)))
        while (phase := self._cluster.read(f"pods/{name}")["status"].get("phase")) not in ("Succeeded", "Failed"):
            assert time.monotonic() < deadline, f"{name} is {phase} after {STEP_S:.0f} s: {self._said(name)}"
            time.sleep(0.3)
        assert phase == "Succeeded", f"{name} failed: {self._said(name)}"

    def log(self, name: str) -> str:
        """What a step printed."""
        return self._namespace.kubectl("logs", name)

    def _said(self, name: str) -> str:
        """The last lines of a step; where it printed none, what Kubernetes says of it."""
        with contextlib.suppress(AssertionError):
            if lines := self._namespace.kubectl("logs", name, "--tail=30"):
                return lines
        return self._namespace.kubectl("describe", "pod", name)[-2000:]


def _constant(given: Json) -> str:
    return given["runtimeValue"]["constant"]
