"""Interface of tunable models, and the training of one trial with a report after every epoch.

A trial reads curve.json whenever the launcher prints a line: workers print one right after rank 0 has written the file.
So it sees each epoch at once, without a polling thread or a collective in the training loop, and can stop torchrun.
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
"""Called with the epoch, from 1, and its validation metric; an exception ends the training and is re-raised."""


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
        """Search space of the trials."""
        ...

    @property
    def defaults(self) -> Mapping[str, Value]:
        """Values of the space's fields without tuning."""
        ...

    @property
    def settings(self) -> str:
        """Base configuration of all trials as text; it also determines their results."""
        ...

    @property
    def digest(self) -> str:
        """Digest of the data."""
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
        """Return a copy that trains with another seed."""
        ...

    def scoring_ms(self, trained: Path) -> float:
        """Return the median milliseconds that the trained model takes to score one shopper's candidates."""
        ...


@dataclass(frozen=True)
class WatchedRun:
    """A launcher in this pod that reports every epoch.

    Attributes:
        launch: launch settings. metric: its name in curve.json. on_epoch: called once for every epoch.
    """

    launch: LaunchConfig
    metric: str
    on_epoch: OnEpoch

    def run(self, task: WorkerTask, work: Path) -> None:
        """Train in `work`.

        Raises:
            TrainingError: training failed; includes the worker's last output.
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
    """Common parts of `Tunable` models whose trials change fields of training options (RetrieverTraining, ...)."""

    config: Any
    """The defaults; all trials use their seed."""

    @property
    @abstractmethod
    def space(self) -> SearchSpace:
        """Search space of the trials."""

    @property
    def defaults(self) -> dict[str, Value]:
        """Values of the defaults in the space's fields."""
        return self.space.values(self.config)

    @property
    def settings(self) -> str:
        """All options that determine a trial's result, as JSON."""
        return json.dumps(self.config.digest_settings, sort_keys=True)

    def watched(self, config: Any, metric: str, on_epoch: OnEpoch) -> WatchedRun:
        """Return a launcher that reports epochs; no restarts, because a configuration that diverges does so again."""
        return WatchedRun(config.launch.replace(max_restarts=0), metric, on_epoch)
