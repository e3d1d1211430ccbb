"""The retriever as something that can be tuned: one trial trains it as the stage does."""

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from components.shared.features.catalog import Catalog
from components.shared.features.rows import Rows
from components.shared.features.spec import FeatureSpec
from components.shared.training.launch import LaunchConfig, run_digest
from components.shared.tuning.search_space import SearchSpace, Value
from components.shared.tuning.timing import median_ms
from components.shared.tuning.trial import Told, WatchedRun
from components.train_retriever.job import files, metric
from components.train_retriever.loss_json import loss_to_json
from components.train_retriever.space import MODEL, search_space
from components.train_retriever.train import RetrieverTraining, train

_TIMED = 200
"""Shoppers whose scoring is timed."""


@dataclass(frozen=True)
class TunableRetriever:
    """See trial.Tunable.

    Attributes:
        features: output of build_features. config: the defaults; its seed is every trial's.
    """

    features: Path
    config: RetrieverTraining
    model = MODEL

    @property
    def metric(self) -> str:
        """See Tunable; where ratings are learned it says how well they are."""
        return metric(loss_to_json(self.config.loss))

    @property
    def space(self) -> SearchSpace:
        """What may be tuned."""
        return search_space(self.config)

    @property
    def defaults(self) -> dict[str, Value]:
        """What the size dial says."""
        return self.space.values(self.config)

    @property
    def settings(self) -> str:
        """The whole configuration but for how workers are launched."""
        return repr(dataclasses.replace(self.config, launch=LaunchConfig()))

    @property
    def digest(self) -> str:
        """Of what the workers read."""
        return run_digest({}, [self.features / name for name in files(loss_to_json(self.config.loss))])

    def train(self, values: Mapping[str, Value], out: Path, told: Told) -> float:
        """See Tunable."""
        config = self.space.apply(self.config, values)
        # A configuration that diverges does so again after a restart.
        launch = dataclasses.replace(config.launch, max_restarts=0)
        return train(self.features, out, config, launcher=WatchedRun(launch, self.metric, told))[self.metric]

    def reseeded(self, seed: int) -> "TunableRetriever":
        """See Tunable."""
        optimizer, sampling = (
            dataclasses.replace(one, seed=seed) for one in (self.config.optimizer, self.config.sampling)
        )
        return dataclasses.replace(
            self, config=dataclasses.replace(self.config, optimizer=optimizer, sampling=sampling)
        )

    def scoring_ms(self, trained: Path) -> float:
        """See Tunable: the user's vector and its product with every item's."""
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
