"""Short YAML of a compiled pipeline: KFP copies it, component by component, into the status of every node of a run.

Left out is what the pipeline's own inputs, the components' component.yaml or newer fields say already.
"""

from collections.abc import Iterator
from typing import Any

import yaml

_WIDTH, _ONE_LINE = 160, 150
"""Characters of a line, and of a list or mapping that is written in one line."""

_DEPRECATED = {
    **{
        name: f"resource{name[0].upper()}{name[1:]}"
        for name in ("cpuLimit", "cpuRequest", "memoryLimit", "memoryRequest")
    },
    "secretName": "secretNameParameter",
    "configMapName": "configMapNameParameter",
    "constant": "pvcNameParameter",
    "type": "resourceType",
}
"""Field that KFP writes for older servers -> the field beside it that KFP 2.17 reads first."""


def shortened(text: str) -> str:
    """Shorten a compiled pipeline; its own inputs, which people see in the UI, keep their descriptions.

    Args:
        text: YAML in KFP's form or as Kubernetes objects.

    Returns:
        YAML, with short lists and mappings in one line.
    """
    documents = list(yaml.load_all(text, yaml.CSafeLoader))
    for document in documents:
        if "metadata" in document:
            # KFP writes null, which the API server rejects for a string field.
            document["metadata"] = {key: value for key, value in document["metadata"].items() if value is not None}
        specification = document.get("spec", {}).get("pipelineSpec", document)
        if "deploymentSpec" in specification:
            _shorten(specification)
        _drop_deprecated(document)
    return yaml.dump_all(documents, Dumper=_Dumper, sort_keys=False, width=_WIDTH, allow_unicode=True)


def _shorten(specification: dict[str, Any]) -> None:
    components = specification.get("components", {})
    for component in components.values():
        for kind in ("inputDefinitions", "outputDefinitions"):
            for definitions in component.get(kind, {}).values():
                for definition in definitions.values():
                    definition.pop("description", None)
    given = {name: list[set[str]]() for name in components}
    for task in tasks_of(specification):
        given[task["componentRef"]["name"]].append(set(task.get("inputs", {}).get("parameters", {})))
    for name, passed in given.items():
        parameters = components[name].get("inputDefinitions", {}).get("parameters", {})
        for parameter in set.intersection(*passed) & set(parameters) if passed else ():
            # A default that no task uses.
            parameters[parameter].pop("defaultValue", None)
            parameters[parameter].pop("isOptional", None)
    for task in tasks_of(specification):
        if task.get("cachingOptions") == {}:
            del task["cachingOptions"]


def _drop_deprecated(value: Any) -> None:
    """Remove deprecated fields at any depth."""
    if isinstance(value, dict):
        for old, new in _DEPRECATED.items():
            if new in value:
                value.pop(old, None)
    for part in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
        _drop_deprecated(part)


def tasks_of(specification: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Every task of a pipeline, also those of conditions and loops."""
    for component in (specification["root"], *specification.get("components", {}).values()):
        yield from component.get("dag", {}).get("tasks", {}).values()


class _Dumper(yaml.SafeDumper):
    """Writes what fits into one line in one line."""

    def serialize_node(self, node: yaml.Node, parent: yaml.Node | None, index: Any) -> None:
        """Choose the style of a list or mapping by its length."""
        if isinstance(node, yaml.CollectionNode):
            node.flow_style = _length(node) <= _ONE_LINE
        super().serialize_node(node, parent, index)

    def ignore_aliases(self, data: Any) -> bool:
        """Write equal values again: KFP's reader of Go knows no anchors in some places."""
        return True


def _length(node: yaml.Node) -> int:
    """Characters of a node in one line; endless where one does not fit."""
    if isinstance(node, yaml.ScalarNode):
        return len(node.value) + 2 if "\n" not in node.value else _WIDTH
    parts = node.value if isinstance(node, yaml.SequenceNode) else [one for pair in node.value for one in pair]
    total = 2
    for part in parts:
        total += _length(part) + 2
        if total > _WIDTH:
            break
    return total
