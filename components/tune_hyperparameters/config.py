"""Options of the search: budget, objective, pruning, storage, worker."""

from typing import Annotated, Literal

from pydantic import Field

from components.shared.options import Amount, Count, Options


class TuningOptions(Options):
    """Options of the search: section `tuning` of the tuning pipeline."""

    retriever_trials: Count = 20
    """Trials of the retriever's study over all workers and restarts; the first has the defaults."""
    ranker_trials: Count = 20
    """Trials of the ranker's study, counted in the same way."""
    objective: Literal["quality", "quality-latency"] = "quality"
    """`quality`: the validation metric. `quality-latency`: also the time to score one shopper, without pruning."""
    pruning: Literal["median", "asha", "none"] = "median"
    """Pruning of trials before their last epoch: `median`, `asha` (successive halving) or `none`."""
    finalists: Amount = 3
    """Number of best trials that are trained again with other seeds at the end, in addition to the budget, together
    with the defaults; the best mean wins. 0: only the study's seed is used."""
    reruns: Count = 2
    """Number of additional seeds per finalist."""
    storage: str = "/mnt/shoprank/tuning"
    """Folder on a persistent volume shared by all workers, or a database URL; empty: nothing is kept."""
    study: Annotated[str, Field(pattern=r"^[\w.-]+$")] = "shop"
    """Prefix of the names of the studies; letters, digits, '.', '_' and '-'."""

    def trials_of(self, model: str) -> int:
        """Return the budget of a model's study."""
        return self.ranker_trials if model == "ranker" else self.retriever_trials


class TuningConfig(Options):
    """Configuration of one worker of a study."""

    trials: Count = 20
    """Maximum number of trials of the study, over all workers and restarts; the first has the defaults."""
    objective: Literal["quality", "quality-latency"] = "quality"
    """See TuningOptions."""
    pruning: Literal["median", "asha", "none"] = "median"
    """See TuningOptions."""
    seed: int = 0
    """Seed of the sampler; with several workers the results also depend on their speed."""
    storage: str = ""
    """See TuningOptions."""
    study: Annotated[str, Field(pattern=r"^[\w.-]+$")] = "study"
    """Prefix of the study's name; a digest of data, defaults and ranges follows."""
    worker: str = ""
    """Name of this worker; unique among concurrent workers of a study on several machines."""
    others_ended: bool = False
    """Whether all workers on other machines have ended, so that their running trials count as lost."""
    finalists: Amount = 0
    """See TuningOptions."""
    reruns: Count = 2
    """See TuningOptions."""

    @classmethod
    def of(cls, options: TuningOptions, model: str, seed: int, worker: str, ended: bool) -> "TuningConfig":
        """Return the configuration of a worker of a model's study.

        Args:
            options: Section `tuning`.
            model: retriever or ranker.
            seed: Seed of the sampler.
            worker: Name of this worker.
            ended: Whether every other worker has ended.
        """
        return cls(
            trials=options.trials_of(model), objective=options.objective, pruning=options.pruning, seed=seed,
            storage=options.storage, study=f"{options.study}-{model}", worker=worker,
            others_ended=ended or not options.storage, finalists=options.finalists, reruns=options.reruns,
        )  # fmt: skip

    @property
    def final_seeds(self) -> tuple[int, ...]:
        """Additional seeds of the finals, without the study's own; empty without finals."""
        return tuple(self.seed + number for number in range(1, self.reruns + 1)) if self.finalists else ()

    @property
    def latency(self) -> bool:
        """Whether latency is a second objective."""
        return self.objective == "quality-latency"
