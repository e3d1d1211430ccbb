"""A model with known best values, tuned through the interface of the stage; it can also run as a worker process.

Its quality falls with the distance from (0.3, 6, "round") and rises over four epochs, as in a real training.
"""

import argparse
import dataclasses
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from components.shared.errors import InputError, TrainingError
from components.shared.tuning.search_space import Choice, Float, Int, SearchSpace, Value
from components.shared.tuning.trial import OnEpoch
from components.tune_hyperparameters.config import TuningConfig
from components.tune_hyperparameters.tune import tune


@dataclass(frozen=True)
class Bowl:
    """See trial.Tunable. Every started training adds a line to `log`."""

    log: Path
    seconds: float = 0.0
    digest: str = "bowl"
    breaks_above: float = 1.0
    problem: type[TrainingError] | type[InputError] = TrainingError
    seed: int = 0
    model = "bowl"
    metric = "validation_depth"
    space = SearchSpace({"x": Float(low=0.0, high=1.0), "n": Int(low=1, high=64, log=True),
                         "shape": Choice(options=("flat", "round"))})  # fmt: skip
    defaults: ClassVar[dict[str, Value]] = {"x": 0.9, "n": 32, "shape": "flat"}
    settings = "seed 0"

    def train(self, values: Mapping[str, Value], out: Path, on_epoch: OnEpoch) -> float:
        with self.log.open("a") as stream:
            stream.write(f"{values['x']} {values['n']} {values['shape']}\n")
        if values["x"] > self.breaks_above:
            raise self.problem("the loss is nan", "lower x")
        depth = 1.0 - abs(values["x"] - 0.3) - abs(values["n"] - 6) / 64 + 0.1 * (values["shape"] == "round")
        for epoch in range(1, 5):
            time.sleep(self.seconds / 4)
            on_epoch(epoch, depth * epoch / 4)
        out.mkdir(parents=True)
        return depth

    def reseeded(self, seed: int) -> "Bowl":
        return dataclasses.replace(self, seed=seed)

    def scoring_ms(self, trained: Path) -> float:
        assert trained.is_dir()
        return 1.0

    def trained(self) -> list[str]:
        return self.log.read_text().splitlines() if self.log.exists() else []


def main() -> None:
    """Entry point of a worker process."""
    parser = argparse.ArgumentParser()
    for name in ("folder", "storage", "worker"):
        parser.add_argument(f"--{name}", required=True)
    parser.add_argument("--trials", type=int, required=True)
    parser.add_argument("--seconds", type=float, default=0.0)
    parser.add_argument("--wait", action="store_true")
    arguments = parser.parse_args()
    folder = Path(arguments.folder)
    if arguments.wait:
        (folder / f"{arguments.worker}.ready").touch()
        while not (folder / "go").exists():
            time.sleep(0.001)
    config = TuningConfig(trials=arguments.trials, storage=arguments.storage, worker=arguments.worker, study="bowl")
    bowl = Bowl(folder / f"{arguments.worker}.log", arguments.seconds)
    tune(bowl, folder / arguments.worker, folder / f"{arguments.worker}.html", config)


if __name__ == "__main__":
    main()
