"""Sizes: `tiny`, `small` and `full` set the defaults of batch sizes, dimensions and epochs."""

from dataclasses import dataclass

from components.shared.errors import InputError


@dataclass(frozen=True, kw_only=True)
class Size:
    """Defaults set by a size."""

    name: str
    shoppers: int
    """Shoppers kept by the demo source (0: all of them); selected by a hash of the id, for reproducibility."""
    embedding_dim: int
    """Width of every embedding row and of the retriever's vectors."""
    hidden_dim: int
    """Width of the hidden layers."""
    batch_size: int
    """Global batch of the retriever, in training rows."""
    retriever_epochs: int
    """Maximum number of epochs; early stopping may end sooner."""
    ranker_epochs: int
    """Passes over the ranker's rows."""
    ranker_batch_shoppers: int
    """Global batch of the ranker, in shoppers, each with all of its candidates."""
    snapshots: int
    """Number of snapshots in time that the ranker is trained on."""
    candidates: int
    """Retrieved candidates per shopper that the ranker scores."""
    bootstrap: int
    """Number of bootstrap resamples for intervals."""


_SIZES = {
    "tiny": Size(
        name="tiny", shoppers=60, embedding_dim=16, hidden_dim=32, batch_size=256, retriever_epochs=2,
        ranker_epochs=10, ranker_batch_shoppers=4, snapshots=1, candidates=100, bootstrap=200,
    ),
    "small": Size(
        name="small", shoppers=500, embedding_dim=32, hidden_dim=64, batch_size=512, retriever_epochs=4,
        ranker_epochs=4, ranker_batch_shoppers=8, snapshots=2, candidates=200, bootstrap=500,
    ),
    "full": Size(
        name="full", shoppers=0, embedding_dim=64, hidden_dim=128, batch_size=1024, retriever_epochs=6,
        ranker_epochs=5, ranker_batch_shoppers=16, snapshots=4, candidates=400, bootstrap=1000,
    ),
}  # fmt: skip


def size_named(name: str) -> Size:
    """The size called `name`.

    Raises:
        InputError: the size is unknown.
    """
    if name not in _SIZES:
        raise InputError(f"size is '{name}'", f"use one of: {', '.join(_SIZES)}")
    return _SIZES[name]
