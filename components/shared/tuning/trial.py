"""A model that can be tuned, and the training of one trial, told of after every epoch.

The launcher's output wakes the trial: workers print a line right after rank 0 has written curve.json, so a trial sees
each epoch at once, with neither a polling thread nor a collective in the training loop, and ends torchrun itself.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from components.shared.storage import read_json
from components.shared.training.launch import LaunchConfig, WorkerTask
from components.shared.training.process import Torchrun
from components.shared.tuning.search_space import SearchSpace, Value

Told = Callable[[int, float], None]
"""Gets the epoch, from 1, and its validation metric; whatever it raises ends the training and goes on upwards."""


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

    def train(self, values: Mapping[str, Value], out: Path, told: Told) -> float:
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
    """A launcher in this pod that tells of every epoch.

    Attributes:
        launch: how many processes. metric: name in curve.json. told: gets every epoch once.
    """

    launch: LaunchConfig
    metric: str
    told: Told

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
                self.told(point["epoch"], point[self.metric])

        Torchrun(self.launch, look).run(task, work)
