"""Interface of tunable models, and the training of one trial with a report after every epoch.

The launcher's output wakes the trial: workers print a line right after rank 0 has written curve.json, so a trial sees
each epoch at once, with neither a polling thread nor a collective in the training loop, and ends torchrun itself.
"""

import json
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from components.shared.storage import read_json
from components.shared.training.launch import LaunchConfig, WorkerTask
from components.shared.training.process import Torchrun
from components.shared.tuning.search_space import SearchSpace, Value

OnEpoch = Callable[[int, float], None]
"""Gets the epoch, from 1, and its validation metric; whatever it raises ends the training and is raised on."""


class Tunable(Protocol):
    """A model, its data and its defaults."""

    @property
    def model(self) -> str:
        """Name of the model in hyperparameters.json."""
        ...

    @property
    def metric(self) -> str:
        """Name of the validation metric; higher is better."""
        ...

    @property
    def space(self) -> SearchSpace:
        """What may be tuned."""
        ...

    @property
    def defaults(self) -> Mapping[str, Value]:
        """Values of the space's fields without tuning."""
        ...

    @property
    def settings(self) -> str:
        """What else decides a trial's result: the whole configuration that trials begin with, as a text."""
        ...

    @property
    def digest(self) -> str:
        """Of the data."""
        ...

    def train(self, values: Mapping[str, Value], out: Path, on_epoch: OnEpoch) -> float:
        """Train with these values into the folder `out`.

        Returns:
            The best epoch's validation metric.

        Raises:
            InputError: a value cannot be used.
            TrainingError: training failed.
        """
        ...

    def reseeded(self, seed: int) -> "Tunable":
        """The same, whose trainings have another seed."""
        ...

    def scoring_ms(self, trained: Path) -> float:
        """Milliseconds, median of many, that the trained model takes to score one shopper's candidates."""
        ...


@dataclass(frozen=True)
class WatchedRun:
    """A launcher in this pod that reports every epoch.

    Attributes:
        launch: how many processes. metric: name in curve.json. on_epoch: gets every epoch once.
    """

    launch: LaunchConfig
    metric: str
    on_epoch: OnEpoch

    def run(self, task: WorkerTask, work: Path) -> None:
        """Train in `work`.

        Raises:
            TrainingError: training failed; says what the worker said last.
        """
        seen = 0

        def look(_: str) -> None:
            nonlocal seen
            path = work / "curve.json"
            for point in read_json(path)[seen:] if path.exists() else []:
                seen += 1
                self.on_epoch(point["epoch"], point[self.metric])

        Torchrun(self.launch, look).run(task, work)


class TunedOptions(ABC):
    """What `Tunable` asks of a model whose trials change fields of its training options (RetrieverTraining, ...)."""

    config: Any
    """The defaults; their seed is every trial's."""

    @property
    @abstractmethod
    def space(self) -> SearchSpace:
        """What may be tuned."""

    @property
    def defaults(self) -> dict[str, Value]:
        """What the size says."""
        return self.space.values(self.config)

    @property
    def settings(self) -> str:
        """Everything that decides a trial's result."""
        return json.dumps(self.config.decisive, sort_keys=True)

    def watched(self, config: Any, metric: str, on_epoch: OnEpoch) -> WatchedRun:
        """A launcher that reports epochs; a configuration that diverges would do so again after a restart."""
        return WatchedRun(config.launch.replace(max_restarts=0), metric, on_epoch)
