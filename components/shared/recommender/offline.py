"""Trained torch models with the interface of exported models, for training the ranker and for evaluation."""

from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import numpy as np
import torch
from safetensors.torch import load_file
from torch import nn
from torchrec import KeyedJaggedTensor

from components.shared.features.catalog import Catalog
from components.shared.features.history import HistoryStore
from components.shared.features.spec import FeatureSpec, SparseFeature
from components.shared.features.vocabulary import read_tokens, read_users
from components.shared.models.batch import keyed_jagged
from components.shared.models.ranker import Ranker, RankerConfig
from components.shared.models.retriever import Retriever, RetrieverConfig
from components.shared.recommender.candidates import CandidateConfig
from components.shared.recommender.exported_models import ItemInputs
from components.shared.recommender.neighbours import Neighbours
from components.shared.recommender.recommender import Recommender
from components.shared.recommender.vector_index import VectorIndex
from components.shared.training.checkpoint import TRAINED_ROWS

_CPU = torch.device("cpu")


@dataclass(frozen=True)
class TorchModels:
    """The trained modules; see exported_models.Models."""

    retriever: Retriever
    ranker: Ranker | None
    vectors: torch.Tensor | None = None
    """Item vectors of the catalog, [items, D]; input of a sequence encoder."""

    @property
    def tasks(self) -> tuple[str, ...]:
        """Names of the ranker's heads."""
        return self.ranker.config.tasks if self.ranker else ()

    @property
    def rows_independent(self) -> bool:
        """See Models."""
        return True

    def item_inputs(self, ids: np.ndarray, weights: np.ndarray) -> ItemInputs:
        """See Models."""
        return ids, weights

    @torch.inference_mode()
    def user_vectors(self, ids: np.ndarray, weights: np.ndarray) -> np.ndarray:
        """See Models."""
        users = from_padded(ids, weights, self.retriever.config.user_features)
        return self.retriever.user_vectors(users, self.vectors).numpy()

    @torch.inference_mode()
    def task_probabilities(
        self, user: tuple[np.ndarray, np.ndarray], item: ItemInputs, row: np.ndarray, dense: np.ndarray
    ) -> np.ndarray:
        """See Models."""
        assert self.ranker is not None
        ids, weights = item
        logits = self.ranker(
            from_padded(*self._ranker_part(user), self.ranker.config.user_features),
            from_padded(ids, weights, self.ranker.config.item_features),
            torch.from_numpy(row), torch.from_numpy(dense),
        )  # fmt: skip
        return torch.sigmoid(logits).numpy()

    def _ranker_part(self, user: tuple[np.ndarray, np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
        """The leading user features; the ranker does not use the query."""
        assert self.ranker is not None
        width = sum(feature.max_length for feature in self.ranker.config.user_features)
        return user[0][:, :width], user[1][:, :width]


def from_padded(ids: np.ndarray, weights: np.ndarray, features: tuple[SparseFeature, ...]) -> KeyedJaggedTensor:
    """Convert concatenated padded features to a KeyedJaggedTensor; padding remains as id 0 with weight 0."""
    edges = np.cumsum([feature.max_length for feature in features])[:-1]
    return KeyedJaggedTensor(
        keys=[feature.name for feature in features],
        values=torch.from_numpy(np.concatenate([part.ravel() for part in np.split(ids, edges, 1)])),
        weights=torch.from_numpy(np.concatenate([part.ravel() for part in np.split(weights, edges, 1)])),
        lengths=torch.from_numpy(np.repeat([feature.max_length for feature in features], len(ids))),
    )


M = TypeVar("M", bound=nn.Module)


def _load(module: M, folder: Path) -> M:
    module.load_state_dict(load_file(folder / "weights.safetensors"))
    return module.eval()


def load_retriever(folder: Path) -> Retriever:
    """Load a retriever written by train_retriever."""
    return _load(Retriever(RetrieverConfig.read(folder / "config.json"), _CPU), folder)


def load_ranker(folder: Path) -> Ranker:
    """Load a ranker written by train_ranker."""
    return _load(Ranker(RankerConfig.read(folder / "config.json"), _CPU), folder)


def trained_rows(folder: Path) -> dict[str, torch.Tensor]:
    """Rows of each table that training updated, bool [rows] by name of the weights; {} if not recorded."""
    path = folder / TRAINED_ROWS
    return load_file(path) if path.exists() else {}


@torch.inference_mode()
def item_vectors(retriever: Retriever, catalog: Catalog, part: int = 8_192) -> tuple[np.ndarray, np.ndarray]:
    """Vectors float32 [items, dim] and biases float32 [items] of the whole catalog."""
    vectors, biases = [], []
    for start in range(0, len(catalog), part):
        rows = np.arange(start, min(start + part, len(catalog)))
        items = {name: ragged.take(rows) for name, ragged in catalog.features.items()}
        content = torch.from_numpy(catalog.content.inputs(rows)) if catalog.content is not None else None
        vector, bias = retriever.item_vectors(keyed_jagged(items, retriever.config.item_features), content)
        vectors.append(vector.numpy())
        biases.append(bias.numpy())
    return np.concatenate(vectors), np.concatenate(biases)


def open_offline(
    features: Path, retriever: Path, ranker: Path | None, config: CandidateConfig, snapshot: str = "serving"
) -> Recommender:
    """Open a Recommender on a feature folder and trained modules; `snapshot` names the statistics and neighbours."""
    spec = FeatureSpec.read(features / "spec.json")
    catalog = Catalog.read(features / "items.parquet", spec)
    found = load_retriever(retriever)
    vectors, biases = item_vectors(found, catalog)
    models = TorchModels(found, load_ranker(ranker) if ranker else None, torch.from_numpy(vectors))
    return Recommender(
        spec=spec, catalog=catalog, statistics=np.load(features / "statistics" / f"{snapshot}.npy"), models=models,
        index=VectorIndex.build(vectors, biases),
        search=None, neighbours=Neighbours.open(features / "neighbours" / snapshot),
        tokens=read_tokens(features / "token.parquet"),
        store=HistoryStore.open(features / "history", spec.user("user").rows - 1),
        user_row=read_users(features / "users.parquet"), config=config,
    )  # fmt: skip
