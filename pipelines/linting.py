"""A lint for compiled pipelines: images, resources, scheduling, secrets and caching.

Reads both of KFP's output formats: the pipeline spec with its platform spec, and Kubernetes-native objects.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import yaml

from components.shared.errors import InputError

GPU_SUFFIX = "/gpu"
RELEASING = ("deploy", "rollout", "register", "launch", "rollback")
"""Name prefixes of steps with side effects outside a run; a cached one would be skipped yet reported as done."""

_SECRET_NAME = re.compile(r"passw(or)?d|secret|token$|api_?key|access_?key|private_?key|credential", re.IGNORECASE)
_SECRET_VALUE = re.compile(r"-----BEGIN|AKIA[0-9A-Z]{16}|(?<![\w/.-])[A-Za-z0-9+/]{40,}={0,2}(?![\w/.-])")


@dataclass(frozen=True)
class Finding:
    """A problem in a compiled pipeline.

    Attributes:
        rule: short name. where: executor, task or parameter. what: the problem. fix: what to do.
    """

    rule: str
    where: str
    what: str
    fix: str

    def __str__(self) -> str:
        return f"{self.rule}: {self.where}: {self.what}; {self.fix}"


@dataclass(frozen=True)
class Compiled:
    """A compiled pipeline.

    Attributes:
        specification: components, root and executors. platform: Kubernetes settings by executor.
    """

    specification: dict[str, Any]
    platform: dict[str, Any]

    @classmethod
    def parse(cls, text: str) -> "Compiled":
        """Parse YAML in either format.

        Raises:
            InputError: the text is not a compiled pipeline.
        """
        try:
            documents = [document for document in yaml.safe_load_all(text) if document]
        except yaml.YAMLError as error:
            raise InputError(f"not YAML: {error}", "compile it again (shoprank compile)") from error
        documents = [document if isinstance(document, dict) else {} for document in documents]
        versions = [document["spec"] for document in documents if document.get("kind") == "PipelineVersion"]
        if versions:
            documents = [versions[0].get("pipelineSpec", {}), versions[0].get("platformSpec") or {}]
        specification = next((document for document in documents if "deploymentSpec" in document), None)
        if specification is None or "root" not in specification:
            raise InputError("not a compiled pipeline: no document has a deploymentSpec and a root", "compile it again")
        platforms = next((document["platforms"] for document in documents if "platforms" in document), {})
        return cls(specification, platforms.get("kubernetes", {}).get("deploymentSpec", {}).get("executors", {}))

    def containers(self) -> Iterator[tuple[str, dict[str, Any]]]:
        """(executor, container) of every step with a container."""
        for name, executor in self.specification["deploymentSpec"].get("executors", {}).items():
            if "container" in executor:
                yield name, executor["container"]

    def tasks(self) -> Iterator[tuple[str, dict[str, Any], dict[str, Any]]]:
        """(task, its entry, its component) of every task that runs a container, in nested graphs too."""
        graphs = [self.specification["root"].get("dag", {})]
        while graphs:
            for name, task in graphs.pop().get("tasks", {}).items():
                component = self.specification["components"][task["componentRef"]["name"]]
                if "dag" in component:
                    graphs.append(component["dag"])
                else:
                    yield name, task, component


def lint(text: str) -> list[Finding]:
    """All findings for a compiled pipeline, in the order of the rules.

    Raises:
        InputError: the text is not a compiled pipeline.
    """
    compiled = Compiled.parse(text)
    rules = (_installs, _images, _resources, _accelerators, _secrets, _caching)
    return [finding for rule in rules for finding in rule(compiled)]


def _installs(compiled: Compiled) -> Iterator[Finding]:
    for name, container in compiled.containers():
        words = " ".join(map(str, [*container.get("command", []), *container.get("args", [])]))
        if re.search(r"\bpip3?\s+install\b|\bpip3?['\"]?,\s*['\"]install|\bapt(-get)? install|\bconda install", words):
            yield Finding("run-time install", name, "installs packages at run time",
                          "install them in the image; install_kfp_package=False, no packages_to_install")  # fmt: skip


def _images(compiled: Compiled) -> Iterator[Finding]:
    for name, container in compiled.containers():
        image = container.get("image", "")
        tag = image.rsplit("/", 1)[-1].partition(":")[2]
        if "@sha256:" not in image and (not tag or tag == "latest") and not image.startswith("{{"):
            yield Finding("moving image", name, f"image '{image}'", "name a version or a digest")


def _resources(compiled: Compiled) -> Iterator[Finding]:
    # KFP writes each as text (resourceCpuLimit) and, for old servers, as a number (cpuLimit).
    wanted = {"CpuLimit": "cpuLimit", "CpuRequest": "cpuRequest",
              "MemoryLimit": "memoryLimit", "MemoryRequest": "memoryRequest"}  # fmt: skip
    for name, container in compiled.containers():
        given = container.get("resources", {})
        missing = [old for new, old in wanted.items() if not given.get(f"resource{new}") and not given.get(old)]
        if missing:
            what = f"{', '.join(missing)} not set"
            yield Finding("no resources", name, what, "give the task a profile (resources.py)")


def _accelerators(compiled: Compiled) -> Iterator[Finding]:
    for name, container in compiled.containers():
        accelerator = container.get("resources", {}).get("accelerator")
        tolerations = compiled.platform.get(name, {}).get("tolerations", [])
        wanted = {accelerator.get("resourceType") or accelerator.get("type")} if accelerator else set()
        tolerated = {entry.get("key", "") for entry in tolerations if entry.get("key", "").endswith(GPU_SUFFIX)}
        anything = any(entry.get("operator") == "Exists" and not entry.get("key") for entry in tolerations)
        if wanted - tolerated and not anything:
            yield Finding("accelerator without toleration", name, f"requests {wanted.pop()}",
                          "add a toleration for the GPU nodes' taint, or the pod is never scheduled")  # fmt: skip
        if tolerated - wanted:
            yield Finding("toleration without accelerator", name, f"tolerates {tolerated.pop()}",
                          "request one or remove the toleration; the step would occupy a GPU node")  # fmt: skip


def _secrets(compiled: Compiled) -> Iterator[Finding]:
    fix = "mount a Secret (kubernetes.use_secret_as_env or _as_volume); parameters and YAML are visible to every user"
    for name, value in _parameters(compiled):
        if _SECRET_NAME.search(name):
            yield Finding("secret", name, "a parameter is named like a secret", fix)
        elif isinstance(value, str) and _SECRET_VALUE.search(value):
            yield Finding("secret", name, "its value looks like a secret", fix)
    for name, container in compiled.containers():
        for entry in container.get("env", []):
            if entry.get("value") and (_SECRET_NAME.search(entry["name"]) or _SECRET_VALUE.search(entry["value"])):
                yield Finding("secret", f"{name} env {entry['name']}", "the value is in the YAML", fix)


def _parameters(compiled: Compiled) -> Iterator[tuple[str, Any]]:
    """(name, value) of the pipeline's parameters and of constants passed to tasks."""
    inputs = compiled.specification["root"].get("inputDefinitions", {}).get("parameters", {})
    yield from ((name, entry.get("defaultValue")) for name, entry in inputs.items())
    for task, entry, _ in compiled.tasks():
        for name, given in entry.get("inputs", {}).get("parameters", {}).items():
            constant = given.get("runtimeValue", {}).get("constant")
            if constant is not None:
                yield f"{task}.{name}", constant


def _caching(compiled: Compiled) -> Iterator[Finding]:
    for name, task, component in compiled.tasks():
        parameters = component.get("inputDefinitions", {}).get("parameters", {}).values()
        # Steps that launch jobs have a TaskConfig parameter; KFP's cache may return deleted artifacts (#7939).
        launches = any(entry.get("parameterType") == "TASK_CONFIG" for entry in parameters)
        if not launches and name.split("-")[0] not in RELEASING:
            continue
        if task.get("cachingOptions", {}).get("enableCache"):
            yield Finding("cached release", name, "a cached run would skip the step and report success",
                          "set_caching_options(False) (resources.py: cached=False)")  # fmt: skip
