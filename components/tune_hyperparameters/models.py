"""The models that can be tuned; the one module that knows other stages: a trial is their training as they run it."""

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from components.shared.errors import InputError
from components.shared.schema.sizes import size_named
from components.shared.tuning.trial import Tunable


@contextmanager
def tunable(
    model: str, features: Path, retriever: Path | None, size: str, seed: int = 0, processes: int = 1, loss: str = ""
) -> Iterator[Tunable]:
    """A model with its data; what its trials share on disk lasts as long as the block.

    Args:
        model: retriever or ranker.
        features: Output of build_features.
        retriever: Output of train_retriever; the ranker needs it.
        size: tiny, small or full: the defaults.
        seed: Of every trial's training.
        processes: Training processes of a trial.
        loss: JSON of what every trial of the retriever learns by; empty: the default.

    Raises:
        InputError: there is no such model, size or loss, the ranker lacks its retriever, or has a loss.
    """
    dial = size_named(size)
    if model == "retriever":
        from components.train_retriever.space import configured
        from components.train_retriever.train import RetrieverTraining
        from components.train_retriever.trial import TunableRetriever

        yield TunableRetriever(features, configured(RetrieverTraining.from_size(dial, seed, processes), loss=loss))
    elif model == "ranker":
        from components.train_ranker.train import RankerTraining
        from components.train_ranker.trial import TunableRanker

        if loss:
            raise InputError(
                f"loss is {loss}, but the ranker has one of its own", "leave it out, or tune the retriever"
            )
        if retriever is None:
            raise InputError("retriever is not given", "the ranker learns from its candidates: give train_retriever's")
        with tempfile.TemporaryDirectory(prefix="shoprank-pairs-") as folder:
            config = RankerTraining.from_size(dial, seed, processes)
            yield TunableRanker(features, retriever, Path(folder) / "pairs", config)
    else:
        raise InputError(f"model is '{model}'", "use one of: retriever, ranker")
