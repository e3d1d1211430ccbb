"""How to search: budget, objective, pruning, storage and who this worker is."""

import re
from dataclasses import dataclass

from components.shared.errors import InputError

OBJECTIVES = ("quality", "quality-latency")
PRUNING = ("median", "asha", "none")


@dataclass(frozen=True, kw_only=True)
class TuningConfig:
    """How to search for hyper-parameters."""

    trials: int = 20
    """Trials of the whole study, over all workers and restarts; the defaults are the first. A hard bound."""
    objective: str = "quality"
    """`quality`: the validation metric. `quality-latency`: also the time to score one shopper; not pruned."""
    pruning: str = "median"
    """`median`, `asha` (successive halving) or `none`: which trials end before their last epoch."""
    seed: int = 0
    """Of the sampler; with several workers what they find also depends on who is faster."""
    storage: str = ""
    """Folder on a volume that lasts and that all workers see, or a database URL; empty: nothing outlasts the call."""
    study: str = "study"
    """What the study's name begins with; a digest of data, defaults and ranges follows."""
    worker: str = ""
    """Name of this worker, distinct among those of a study that run at once on several machines."""
    closing: bool = False
    """Whether all workers on other machines have ended, so that trials which they left running are lost ones."""

    finalists: int = 0
    """Complete trials of the best quality that are trained again with other seeds when the study closes, and the
    defaults with them; the best mean wins. Beyond the budget. 0: the study's own seed decides."""
    reruns: int = 2
    """Further seeds of each finalist."""

    def __post_init__(self) -> None:
        if self.trials < 1:
            raise InputError(f"trials is {self.trials}", "give at least 1: the defaults")
        if self.finalists < 0:
            raise InputError(f"finalists is {self.finalists}", "give 0 for none, or how many")
        if self.reruns < 1:
            raise InputError(f"reruns is {self.reruns}", "give at least 1, or 0 finalists")
        if not re.fullmatch(r"[\w.-]+", self.study):
            raise InputError(f"study is '{self.study}'", "use letters, digits, '.', '_' and '-': it names a file")
        for name, known in (("objective", OBJECTIVES), ("pruning", PRUNING)):
            if getattr(self, name) not in known:
                raise InputError(f"{name} is '{getattr(self, name)}'", f"use one of: {', '.join(known)}")

    @property
    def final_seeds(self) -> tuple[int, ...]:
        """Seeds of the finals, none of them the study's own; empty where there are no finals."""
        return tuple(self.seed + number for number in range(1, self.reruns + 1)) if self.finalists else ()

    @property
    def latency(self) -> bool:
        """Whether latency is a second objective."""
        return self.objective == "quality-latency"
