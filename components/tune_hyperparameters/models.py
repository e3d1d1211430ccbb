"""The tunable models; the only module that imports other stages, because a trial runs their training."""

import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from components.shared.errors import InputError
from components.shared.tuning.trial import Tunable

Sections = Mapping[str, Mapping[str, Any]]
"""Section -> its values."""


@contextmanager
def tunable(
    model: str, features: Path, retriever: Path | None, size: str, seed: int = 0, sections: Sections | None = None
) -> Iterator[Tunable]:
    """Provide a model with its data; files shared by its trials are deleted at the end of the block.

    Args:
        model: retriever or ranker.
        features: Output of build_features.
        retriever: Output of train_retriever; the ranker needs it.
        size: tiny, small or full.
        seed: Seed of every trial's training.
        sections: Sections retriever, ranker and training: the options that all trials start from.

    Raises:
        InputError: the model or size is unknown, an option is invalid, or the ranker has no retriever.
    """
    given = sections or {}
    section, training = given.get(model, {}), given.get("training", {})
    if model == "retriever":
        from components.train_retriever.stage import training_for
        from components.train_retriever.trial import TunableRetriever

        yield TunableRetriever(features, training_for(size, seed, section, training))
    elif model == "ranker":
        from components.train_ranker.stage import training_for
        from components.train_ranker.trial import TunableRanker

        if retriever is None:
            raise InputError(
                "retriever is not given", "give the output of train_retriever, which provides the ranker's candidates"
            )
        config = training_for(size, seed, section, training)
        if config.teacher or config.inference_log:
            raise InputError("ranker.teacher or ranker.inference_log is not supported in tuning",
                             "remove both from tuning and set them in training")  # fmt: skip
        with tempfile.TemporaryDirectory(prefix="shoprank-pairs-") as folder:
            yield TunableRanker(features, retriever, Path(folder) / "pairs", config)
    else:
        raise InputError(f"model is '{model}'", "use one of: retriever, ranker")
