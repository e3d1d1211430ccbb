"""Runs a compiled pipeline step by step, each step in a pod, as the driver of Kubeflow Pipelines does.

KFP's API server cannot be had here. What it reads is read here: both documents of the compiled YAML, with its tasks,
conditions, placeholders, resources, claims and keys. Not played: parallel steps, loops, exit handlers and retries.
"""

import dataclasses
import hashlib
import json
import re
import time
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from graphlib import TopologicalSorter
from pathlib import Path
from typing import Any

import yaml

from tests.cluster.step_pods import ARTIFACTS_MOUNT, PodSpecification, StepPods

Json = dict[str, Any]

ROOT = "mlpipeline/v2/artifacts"
"""Folder of all artifacts in the store; that of KFP."""

_PLACEHOLDER = re.compile(r"\{\{\$\.inputs\.parameters\[['\"](?P<name>[^'\"]+)['\"]\]\}\}")
_CONDITION = re.compile(
    r"inputs\.parameter_values\['(?P<name>[^']+)'\] (?P<operation>==|!=) (?:'(?P<text>[^']*)'|(?P<constant>true|false))"
)


@dataclass(frozen=True)
class Values:
    """Inputs or outputs of a task.

    Attributes:
        parameters: by name. artifacts: by name, as KFP's RuntimeArtifact.
    """

    parameters: Json = field(default_factory=dict)
    artifacts: dict[str, Json] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Step:
    """A step that ran, or whose earlier result was taken.

    Attributes:
        run: of the pipeline. name: of the task. began, ended: time.monotonic. cached: whether it did not run again.
        outputs: what it gave.
    """

    run: str
    name: str
    began: float
    ended: float
    cached: bool
    outputs: Values


class CompiledPipeline:
    """A compiled pipeline whose runs share a cache.

    Args:
        compiled: YAML in KFP's form.
        pods: Runs the steps.
        tell: Called after each step.
    """

    def __init__(self, compiled: Path, pods: StepPods, tell: Callable[[Step], object] = lambda _: None):
        self._specification, platform = yaml.safe_load_all(compiled.read_text(encoding="utf-8"))
        self._platform: Json = platform["platforms"]["kubernetes"]["deploymentSpec"]["executors"]
        self._pods, self._tell = pods, tell
        self._cache: dict[str, Values] = {}

    def run(self, run: str, **parameters: Any) -> dict[str, Step]:
        """Run it.

        Args:
            run: Name of the run, a part of the pods' names.
            **parameters: Of the pipeline; the rest keep their defaults.

        Returns:
            Every step by name; those of conditions that are not met are missing.

        Raises:
            AssertionError: a step failed; the message holds its last lines.
        """
        steps: dict[str, Step] = {}
        root = self._specification["root"]
        unknown = set(parameters) - set(root["inputDefinitions"]["parameters"])
        assert not unknown, f"the pipeline has no {', '.join(sorted(unknown))}"
        self._graph(root, Values(_with_defaults(root, parameters)), run, steps)
        return steps

    def _graph(self, component: Json, outer: Values, run: str, steps: dict[str, Step]) -> None:
        tasks = component["dag"]["tasks"]
        for name in TopologicalSorter(
            {one: task.get("dependentTasks", []) for one, task in tasks.items()}
        ).static_order():
            task = tasks[name]
            own = self._specification["components"][task["componentRef"]["name"]]
            inputs = _inputs(task, own, outer, steps)
            if not _triggered(task, inputs):
                continue
            if "dag" in own:
                self._graph(own, inputs, run, steps)
            else:
                steps[name] = self._step(name, task, own, inputs, run)
                self._tell(steps[name])

    def _step(self, name: str, task: Json, component: Json, inputs: Values, run: str) -> Step:
        label, began = component["executorLabel"], time.monotonic()
        container = self._specification["deploymentSpec"]["executors"][label]["container"]
        container = {**container, "resources": _resolved(container.get("resources", {}), inputs.parameters)}
        specification = PodSpecification(name=f"{run}-{name}", run=run, container=container,
                                         platform=self._platform.get(label, {}))  # fmt: skip
        key = _cache_key(specification, component, inputs)
        cached = task.get("cachingOptions", {}).get("enableCache", False) and key in self._cache
        if not cached:
            self._cache[key] = self._executed(name, component, inputs, specification)
        return Step(
            run=run, name=name, began=began, ended=time.monotonic(), cached=cached, outputs=self._cache[key]
        )  # fmt: skip

    def _executed(self, name: str, component: Json, inputs: Values, specification: PodSpecification) -> Values:
        """Run a step and return what it gave, as its executor wrote it."""
        pipeline = self._specification["pipelineInfo"]["name"]
        folder = f"{ROOT}/{pipeline}/{specification.run}/{name}/{uuid.uuid4().hex[:8]}"
        planned = _planned(component, folder)
        definitions = component.get("inputDefinitions", {}).get("parameters", {})
        settings = {parameter: specification.task_config() for parameter, definition in definitions.items()
                    if definition["parameterType"] == "TASK_CONFIG"}  # fmt: skip
        given = {
            "inputs": {"parameterValues": {**inputs.parameters, **settings}, "artifacts": _listed(inputs.artifacts)},
            # KFP's launcher reads this file in the pod; here it lies with the artifacts, where it can be read outside.
            "outputs": {"artifacts": _listed(planned), "outputFile": f"{ARTIFACTS_MOUNT}/{folder}/executor_output.json",
                        "parameters": {parameter: {"outputFile": f"/tmp/kfp/outputs/{parameter}"} for parameter in
                                       component.get("outputDefinitions", {}).get("parameters", {})}},
        }  # fmt: skip
        self._pods.run(specification, given)
        said = json.loads((self._pods.artifacts / folder / "executor_output.json").read_text())
        artifacts = {
            output: {**artifact, **said.get("artifacts", {}).get(output, {"artifacts": [{}]})["artifacts"][0]}
            for output, artifact in planned.items()
        }
        return Values(_whole(said.get("parameterValues", {})), artifacts)


def _inputs(task: Json, component: Json, outer: Values, steps: Mapping[str, Step]) -> Values:
    """The inputs of a task, from its graph's inputs, other tasks' outputs, constants and defaults."""
    given = task.get("inputs", {})
    parameters: Json = {}
    for name, source in given.get("parameters", {}).items():
        if "componentInputParameter" in source:
            parameters[name] = outer.parameters[source["componentInputParameter"]]
        elif "taskOutputParameter" in source:
            wanted = source["taskOutputParameter"]
            parameters[name] = steps[wanted["producerTask"]].outputs.parameters[wanted["outputParameterKey"]]
        else:
            parameters[name] = source["runtimeValue"]["constant"]
    artifacts: dict[str, Json] = {}
    for name, source in given.get("artifacts", {}).items():
        if "componentInputArtifact" in source:
            artifacts[name] = outer.artifacts[source["componentInputArtifact"]]
        else:
            wanted = source["taskOutputArtifact"]
            artifacts[name] = steps[wanted["producerTask"]].outputs.artifacts[wanted["outputArtifactKey"]]
    return Values(_with_defaults(component, _resolved(parameters, parameters)), artifacts)


def _with_defaults(component: Json, given: Json) -> Json:
    definitions = component.get("inputDefinitions", {}).get("parameters", {})
    defaults = {name: one["defaultValue"] for name, one in definitions.items() if "defaultValue" in one}
    return _whole({**defaults, **given})


def _whole(value: Any) -> Any:
    """KFP hands whole numbers over without a fraction, whatever they were."""
    if isinstance(value, dict):
        return {name: _whole(one) for name, one in value.items()}
    if isinstance(value, list):
        return [_whole(one) for one in value]
    return int(value) if isinstance(value, float) and value.is_integer() else value


def _resolved(value: Any, parameters: Json) -> Any:
    """Put parameters in place of KFP's placeholders, at any depth."""
    if isinstance(value, dict):
        return {name: _resolved(one, parameters) for name, one in value.items()}
    if isinstance(value, str):
        return _PLACEHOLDER.sub(lambda found: str(parameters[found["name"]]), value)
    return value


def _triggered(task: Json, inputs: Values) -> bool:
    """Whether a task's condition holds; those that the compiler writes for dsl.If compare with a constant."""
    condition = task.get("triggerPolicy", {}).get("condition")
    if condition is None:
        return True
    found = _CONDITION.fullmatch(condition)
    assert found, f"a condition that is not played here: {condition}"
    wanted = found["constant"] == "true" if found["constant"] else found["text"]
    return (inputs.parameters[found["name"]] == wanted) == (found["operation"] == "==")


def _planned(component: Json, folder: str) -> dict[str, Json]:
    """The output artifacts of a step, before it runs."""
    definitions = component.get("outputDefinitions", {}).get("artifacts", {})
    return {
        name: {"name": f"{folder}/{name}", "type": one["artifactType"], "uri": f"minio://{folder}/{name}",
               "metadata": {}}
        for name, one in definitions.items()
    }  # fmt: skip


def _listed(artifacts: dict[str, Json]) -> Json:
    return {name: {"artifacts": [artifact]} for name, artifact in artifacts.items()}


def _cache_key(specification: PodSpecification, component: Json, inputs: Values) -> str:
    """KFP's key: values of the inputs, names of input artifacts, outputs, image, command, environment and claims."""
    container = {name: one for name, one in specification.container.items() if name != "resources"}
    parts = [dataclasses.asdict(inputs)["parameters"], {name: one["name"] for name, one in inputs.artifacts.items()},
             component.get("outputDefinitions", {}), container, specification.platform.get("pvcMount", [])]  # fmt: skip
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()
