"""Smaller resources for the steps of a compiled pipeline: what a laptop or a test cluster has."""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from components.shared.errors import InputError

_UNITS = {"m": 1e-3, "": 1.0, **{f"{unit}i": 1024.0**power for power, unit in enumerate("KMGT", 1)},
          **{unit: 1000.0**power for power, unit in enumerate("MGT", 2)}}  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Cap:
    """The most that one step's pod may ask for; empty: as compiled."""

    cpu: str = ""
    """CPUs, such as 2 or 500m."""
    memory: str = ""
    """Memory with its unit, such as 4Gi."""

    def __post_init__(self) -> None:
        for flag, given in (("--max-cpu", self.cpu), ("--max-memory", self.memory)):
            if given and not _number(given):
                raise InputError(f"{flag} {given}", "give a quantity, such as 2 or 500m of CPU, or 4Gi of memory")

    def write(self, compiled: Path, to: Path) -> None:
        """Write a compiled pipeline whose steps ask for no more; what parameters say is left to the parameters."""
        documents = list(yaml.load_all(compiled.read_text(encoding="utf-8"), yaml.CSafeLoader))
        for executor in documents[0]["deploymentSpec"]["executors"].values():
            resources = executor.get("container", {}).get("resources", {})
            _lower(resources, "resourceCpu", "cpu", self.cpu, 1.0)
            _lower(resources, "resourceMemory", "memory", self.memory, 1e9)
        to.write_text(yaml.safe_dump_all(documents, sort_keys=False), encoding="utf-8")


def _lower(resources: dict[str, Any], field: str, number: str, most: str, unit: float) -> None:
    """Lower request and limit, in both forms that KFP writes: a string, and a number in CPUs or GB."""
    for kind in ("Request", "Limit"):
        value = _number(str(resources.get(field + kind, "")))
        if most and value and value > _number(most):
            resources[field + kind] = most
            resources[number + kind] = _number(most) / unit


def _number(quantity: str) -> float:
    """Value of a quantity, 0 for anything else, such as KFP's placeholder of a parameter."""
    found = re.fullmatch(r"(\d+(?:\.\d+)?)(m|[KMGT]i|[MGT]|)", quantity)
    return float(found[1]) * _UNITS[found[2]] if found else 0.0
