"""A lint for compiled pipelines: images, resources, scheduling, security, retries, secrets and caching.

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

MIN_RETRY_S = {False: 86_400, True: 7 * 86_400}
"""Least backoffMaxDuration of a step in seconds, and of one that may train or roll out for days."""

_STRING = "STRING"
_PLACEHOLDER = re.compile(r"\{\{\$\.inputs\.parameters\['([^']+)'\]\}\}")
_SECRET_NAME = re.compile(
    r"passw(or)?d|(?<!pull_)secret|token$|api_?key|access_?key|private_?key|credential", re.IGNORECASE
)
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
class Task:
    """A task that runs a container.

    Attributes:
        name: of the task. entry: its entry in `graph`. component: its component. graph: the component with the tasks.
    """

    name: str
    entry: dict[str, Any]
    component: dict[str, Any]
    graph: dict[str, Any]

    @property
    def launches(self) -> bool:
        """Whether it may launch jobs: such a step has a TaskConfig parameter."""
        parameters = self.component.get("inputDefinitions", {}).get("parameters", {}).values()
        return any(entry.get("parameterType") == "TASK_CONFIG" for entry in parameters)


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

    def tasks(self) -> Iterator[Task]:
        """Every task that runs a container, in nested graphs too."""
        graphs = [self.specification["root"]]
        while graphs:
            graph = graphs.pop()
            for name, entry in graph.get("dag", {}).get("tasks", {}).items():
                component = self.component_of(entry)
                if "dag" in component:
                    graphs.append(component)
                elif self.container(component):
                    yield Task(name, entry, component, graph)

    def component_of(self, entry: dict[str, Any]) -> dict[str, Any]:
        """The component of a task."""
        return self.specification["components"][entry["componentRef"]["name"]]

    def container(self, component: dict[str, Any]) -> dict[str, Any]:
        """The container of a component; {} for an importer."""
        executors = self.specification["deploymentSpec"].get("executors", {})
        return executors.get(component.get("executorLabel"), {}).get("container", {})


def lint(text: str) -> list[Finding]:
    """All findings for a compiled pipeline, in the order of the rules.

    Raises:
        InputError: the text is not a compiled pipeline.
    """
    compiled = Compiled.parse(text)
    rules = (_installs, _images, _resources, _quantities, _accelerators, _security, _retries, _secrets, _caching)
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


def _quantities(compiled: Compiled) -> Iterator[Finding]:
    for task in compiled.tasks():
        given = compiled.container(task.component).get("resources", {})
        fields = {**given, **{f"accelerator.{name}": value for name, value in given.get("accelerator", {}).items()}}
        wrong = {}
        for field, value in fields.items():
            for name in _PLACEHOLDER.findall(value) if isinstance(value, str) else ():
                parameter, kind = _origin(compiled, task, name)
                if kind != _STRING:
                    wrong.setdefault((parameter, kind), []).append(field)
        for (parameter, kind), names in wrong.items():
            yield Finding("quantity", task.name, f"{', '.join(names)} take parameter {parameter}, which is a {kind}",
                          "make the parameter a string: for another type KFP requests nothing")  # fmt: skip


def _origin(compiled: Compiled, task: Task, name: str) -> tuple[str, str]:
    """Name and type of the parameter of the surrounding graph, or of the other task's output, behind a task's input."""
    given = task.entry.get("inputs", {}).get("parameters", {}).get(name, {})
    if "componentInputParameter" in given:
        name = given["componentInputParameter"]
        defined = task.graph.get("inputDefinitions", {})
    elif "taskOutputParameter" in given:
        source = given["taskOutputParameter"]
        name = source["outputParameterKey"]
        defined = compiled.component_of(task.graph["dag"]["tasks"][source["producerTask"]]).get("outputDefinitions", {})
    else:
        value = given.get("runtimeValue", {}).get("constant")
        return name, _STRING if isinstance(value, str) else type(value).__name__
    return name.removeprefix("pipelinechannel--"), defined.get("parameters", {}).get(name, {}).get("parameterType", "?")


def _security(compiled: Compiled) -> Iterator[Finding]:
    for name, _ in compiled.containers():
        context = compiled.platform.get(name, {}).get("securityContext", {})
        if context.get("runAsNonRoot") is not True or str(context.get("runAsUser", "")) == "0":
            yield Finding("may run as root", name, "no securityContext with runAsNonRoot and an ordinary user",
                          "set it (resources.py); Pod Security restricted refuses the pod")  # fmt: skip


def _retries(compiled: Compiled) -> Iterator[Finding]:
    for task in compiled.tasks():
        policy = task.entry.get("retryPolicy", {})
        trains = "accelerator" in compiled.container(task.component).get("resources", {})
        least = MIN_RETRY_S[trains or task.launches or task.name.startswith("rollout")]
        lasts = float(policy.get("backoffMaxDuration", "0s").removesuffix("s"))
        if not policy.get("maxRetryCount"):
            yield Finding("no retries", task.name, "maxRetryCount not set", "set_retry with all four arguments")
        elif lasts < least:
            what = f"backoffMaxDuration is {lasts:.0f} s, counted from the step's first start"
            yield Finding("short retries", task.name, what, f"set {least}s or more: nothing later is retried")


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
    for task in compiled.tasks():
        for name, given in task.entry.get("inputs", {}).get("parameters", {}).items():
            constant = given.get("runtimeValue", {}).get("constant")
            if constant is not None:
                yield f"{task.name}.{name}", constant


def _caching(compiled: Compiled) -> Iterator[Finding]:
    for task in compiled.tasks():
        if task.name.split("-")[0] in RELEASING and task.entry.get("cachingOptions", {}).get("enableCache"):
            yield Finding("cached release", task.name, "a cached run would skip the step and report success",
                          "set_caching_options(False) (resources.py: cached=False)")  # fmt: skip
