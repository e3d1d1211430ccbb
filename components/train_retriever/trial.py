"""Tuning of the retriever: a trial trains it in the same way as the stage."""

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from components.shared.features.catalog import Catalog
from components.shared.features.rows import Rows
from components.shared.features.spec import FeatureSpec
from components.shared.training.launch import run_digest
from components.shared.tuning.search_space import SearchSpace, Value
from components.shared.tuning.timing import median_ms
from components.shared.tuning.trial import OnEpoch, TunedOptions
from components.train_retriever.config import RetrieverTraining
from components.train_retriever.job import files, metric
from components.train_retriever.space import MODEL, search_space
from components.train_retriever.train import train

_TIMED = 200
"""Number of shoppers whose scoring is timed."""


@dataclass(frozen=True)
class TunableRetriever(TunedOptions):
    """See trial.Tunable.

    Attributes:
        features: output of build_features. config: the defaults; all trials use its seed.
    """

    features: Path
    config: RetrieverTraining
    model = MODEL

    @property
    def metric(self) -> str:
        """See Tunable; a metric of ratings if ratings are learned."""
        return metric(self.config)

    @property
    def space(self) -> SearchSpace:
        """Search space of the trials."""
        return search_space(self.config)

    @property
    def digest(self) -> str:
        """Digest of the files that the workers read."""
        return run_digest({}, [self.features / name for name in files(self.config)])

    def train(self, values: Mapping[str, Value], out: Path, on_epoch: OnEpoch) -> float:
        """See Tunable."""
        config = self.space.apply(self.config, values)
        return train(self.features, out, config, launcher=self.watched(config, self.metric, on_epoch))[self.metric]

    def reseeded(self, seed: int) -> "TunableRetriever":
        """See Tunable."""
        optimizer, sampling = self.config.optimizer.replace(seed=seed), self.config.sampling.replace(seed=seed)
        return dataclasses.replace(self, config=self.config.replace(optimizer=optimizer, sampling=sampling))

    def scoring_ms(self, trained: Path) -> float:
        """See Tunable; times the user vector and its products with all item vectors."""
        import torch

        from components.shared.models.batch import keyed_jagged
        from components.shared.recommender.offline import item_vectors, load_retriever

        spec = FeatureSpec.read(self.features / "spec.json")
        rows = Rows.read(self.features / "rows" / "validation.parquet", spec)
        model = load_retriever(trained)
        catalog = Catalog.read(self.features / "items.parquet", spec)
        vectors, biases = (torch.from_numpy(array) for array in item_vectors(model, catalog))

        @torch.inference_mode()
        def score(at: int) -> torch.Tensor:
            users = {name: ragged.take(np.array([at])) for name, ragged in rows.features.items()}
            return model.user_vectors(keyed_jagged(users, spec.user_features), vectors) @ vectors.T + biases

        return median_ms(score, min(_TIMED, len(rows)))
