"""Changes of a compiled pipeline for one submission: smaller steps for a laptop, or a run without KFP's cache."""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from components.shared.errors import InputError
from pipelines.compacting import tasks_of

_UNITS = {"m": 1e-3, "": 1.0, **{f"{unit}i": 1024.0**power for power, unit in enumerate("KMGT", 1)},
          **{unit: 1000.0**power for power, unit in enumerate("MGT", 2)}}  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Overrides:
    """What differs from the compiled pipeline."""

    max_cpu: str = ""
    """CPUs that a step asks for at most, such as 2 or 500m; empty: as compiled."""
    max_memory: str = ""
    """Memory that a step asks for at most, with its unit, such as 4Gi; empty: as compiled."""
    no_cache: bool = False
    """Whether every step runs, also where KFP knows a result of the same inputs."""

    def __post_init__(self) -> None:
        for flag, given in (("--max-cpu", self.max_cpu), ("--max-memory", self.max_memory)):
            if given and not _number(given):
                raise InputError(f"{flag} {given}", "give a quantity, such as 2 or 500m of CPU, or 4Gi of memory")

    def write(self, compiled: Path, to: Path) -> None:
        """Write the changed pipeline; resources that are parameters stay, as their values are given by parameters."""
        documents = list(yaml.load_all(compiled.read_text(encoding="utf-8"), yaml.CSafeLoader))
        specification = documents[0]
        for executor in specification["deploymentSpec"]["executors"].values():
            resources = executor.get("container", {}).get("resources", {})
            _lower(resources, "resourceCpu", self.max_cpu)
            _lower(resources, "resourceMemory", self.max_memory)
        if self.no_cache:
            # kfp.Client's own switch does not reach the tasks of conditions and loops.
            for task in tasks_of(specification):
                task["cachingOptions"] = {}
        to.write_text(yaml.safe_dump_all(documents, sort_keys=False), encoding="utf-8")


def _lower(resources: dict[str, Any], field: str, most: str) -> None:
    """Lower request and limit."""
    for kind in ("Request", "Limit"):
        value = _number(str(resources.get(field + kind, "")))
        if most and value and value > _number(most):
            resources[field + kind] = most


def _number(quantity: str) -> float:
    """Value of a quantity, 0 for anything else, such as KFP's placeholder of a parameter."""
    found = re.fullmatch(r"(\d+(?:\.\d+)?)(m|[KMGT]i|[MGT]|)", quantity)
    return float(found[1]) * _UNITS[found[2]] if found else 0.0
