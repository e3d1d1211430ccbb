"""Conversion of ragged features to KeyedJaggedTensor: one concatenation per batch, no loop over rows."""

from collections.abc import Sequence

import numpy as np
import torch
from torchrec import KeyedJaggedTensor

from components.shared.features.ragged import Ragged
from components.shared.features.spec import SparseFeature


def keyed_jagged(features: dict[str, Ragged], wanted: Sequence[SparseFeature]) -> KeyedJaggedTensor:
    """Join features, key by key, into one weighted KeyedJaggedTensor; all features have the same number of rows.

    Ids outside a table are an error in TorchRec's fused kernels, so they must have been mapped to 0 before.
    """
    chosen = [features[feature.name] for feature in wanted]
    return KeyedJaggedTensor(
        keys=[feature.name for feature in wanted],
        values=torch.from_numpy(np.concatenate([ragged.values for ragged in chosen])),
        weights=torch.from_numpy(np.concatenate([ragged.weights for ragged in chosen])),
        lengths=torch.from_numpy(np.concatenate([ragged.lengths for ragged in chosen])),
    )
