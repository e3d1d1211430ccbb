"""Tuning of the ranker: all trials share one set of candidate pairs and do not modify it."""

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from components.shared.features.catalog import Catalog
from components.shared.features.spec import FeatureSpec
from components.shared.training.launch import run_digest
from components.shared.tuning.search_space import SearchSpace, Value
from components.shared.tuning.timing import median_ms
from components.shared.tuning.trial import OnEpoch, TunedOptions
from components.train_ranker.config import RankerTraining
from components.train_ranker.examples import PairRows
from components.train_ranker.job import METRIC
from components.train_ranker.space import MODEL, search_space
from components.train_ranker.train import train, write_all_pairs

_TIMED = 200
"""Number of shoppers whose scoring is timed."""


@dataclass(frozen=True)
class TunableRanker(TunedOptions):
    """See trial.Tunable.

    Attributes:
        features: output of build_features. retriever: output of train_retriever. pairs: folder for candidate pairs,
            written by the first trial. config: the defaults; all trials use its seed.
    """

    features: Path
    retriever: Path
    pairs: Path
    config: RankerTraining
    model = MODEL
    metric = METRIC

    @property
    def space(self) -> SearchSpace:
        """Search space of the trials."""
        return search_space(self.config)

    @property
    def digest(self) -> str:
        """Digest of the training rows and of the retriever, which determines the candidates."""
        rows = sorted((self.features / "rows").glob("*.parquet"))
        return run_digest({}, [self.features / "spec.json", self.features / "items.parquet", *rows,
                               self.retriever / "weights.safetensors"])  # fmt: skip

    def train(self, values: Mapping[str, Value], out: Path, on_epoch: OnEpoch) -> float:
        """See Tunable."""
        # Trials are compared on the validation window, which a refit would train on.
        config = self.space.apply(self.config, values).replace(refit=False)
        if not self.pairs.exists():
            write_all_pairs(self.features, self.retriever, self.pairs, config)
        launcher = self.watched(config, METRIC, on_epoch)
        return train(self.features, self.retriever, out, config, launcher=launcher, pairs=self.pairs)[METRIC]

    def reseeded(self, seed: int) -> "TunableRanker":
        """See Tunable."""
        config = self.config.replace(optimizer=self.config.optimizer.replace(seed=seed))
        return dataclasses.replace(self, config=config)

    def scoring_ms(self, trained: Path) -> float:
        """See Tunable; times the scoring of all candidates of one shopper."""
        import torch

        from components.shared.models.batch import keyed_jagged
        from components.shared.recommender.offline import load_ranker

        spec = FeatureSpec.read(self.features / "spec.json")
        catalog = Catalog.read(self.features / "items.parquet", spec)
        pairs = next(PairRows.parts(self.pairs / "validation.parquet", spec, _TIMED))
        model = load_ranker(trained)

        @torch.inference_mode()
        def score(at: int) -> torch.Tensor:
            part = pairs.take(np.array([at]))
            items = {name: ragged.take(part.item) for name, ragged in catalog.features.items()}
            return model(
                keyed_jagged(part.features, model.config.user_features),
                keyed_jagged(items, model.config.item_features),
                torch.from_numpy(part.row), torch.from_numpy(part.dense),
            )  # fmt: skip

        return median_ms(score, len(pairs))
