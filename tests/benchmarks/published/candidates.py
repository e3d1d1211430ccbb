"""Candidates for each layout, from which validation chooses. Settings depend on the layout, never on a data set."""

import dataclasses

from components.shared.errors import InputError
from components.shared.models.encoders.config import (
    AttentionConfig,
    ConvConfig,
    GruConfig,
    HstuConfig,
    PooledConfig,
)
from components.train_retriever.losses.config import (
    Bce,
    Bpr,
    FullSoftmax,
    Hard,
    InBatch,
    Popularity,
    SampledSoftmax,
    Uniform,
)
from tests.benchmarks.published.fitting import Blend, Candidate
from tests.benchmarks.published.graph_filter import GraphFilterConfig
from tests.benchmarks.published.optimizers import Adam
from tests.benchmarks.published.sequence_retriever import ScoringConfig
from tests.benchmarks.published.training import Recipe

_HISTORIES = Recipe(
    name="attention", encoder=AttentionConfig(max_length=50, dropout=0.5), loss=FullSoftmax(),
    optimizer=Adam(lr=2e-3), dim=64, averaging=0.99, batch_tokens=1_024, patience=3,
)  # fmt: skip
_UNITS = dataclasses.replace(_HISTORIES, name="HSTU", encoder=HstuConfig(max_length=50, dropout=0.5))
_SESSIONS = Recipe(
    name="attention", encoder=AttentionConfig(max_length=20, dropout=0.2),
    loss=SampledSoftmax(sources=(InBatch(), Uniform(count=8_192))), optimizer=Adam(lr=1e-3),
    scoring=ScoringConfig(normalise=True, temperature=1 / 12), dim=96, item_dropout=0.1, averaging=0.995,
    epochs=12, patience=2,
)  # fmt: skip
_SESSION_UNITS = dataclasses.replace(_SESSIONS, name="HSTU", encoder=HstuConfig(max_length=20, dropout=0.2))
_NEIGHBOURS = tuple(
    GraphFilterConfig(
        name=f"neighbours, powers {user} and {item}", low_pass=0.0, factors=0, decay=0.8, user_power=user,
        item_power=item,
    )
    for user, item in ((0.5, 0.5), (0.3, 0.4), (0.2, 0.3))
)  # fmt: skip
_RECENT = dataclasses.replace(_NEIGHBOURS[0], name=f"{_NEIGHBOURS[0].name}, recency 0.3", recency=0.3)
_FILTERS = tuple(
    GraphFilterConfig(
        name=f"graph filter: {factors} factors x {low_pass}, sharpening {sharpening}, powers {user} and {item}",
        factors=factors, low_pass=low_pass, sharpening=sharpening, user_power=user, item_power=item,
    )
    for factors, low_pass, sharpening, user, item in (
        (0, 0.0, 0.0, 0.5, 0.5), (256, 0.3, 0.0, 0.5, 0.5), (512, 0.2, 2.0, 0.5, 0.5),
        (512, 0.2, 2.0, 0.3, 0.45), (512, 0.2, 2.0, 0.4, 0.4),
    )
)  # fmt: skip


def candidates(kind: str) -> tuple[Candidate, ...]:
    """Return the candidates for a layout of this kind."""
    if kind == "sets":
        return _FILTERS
    recipes = (_HISTORIES, _UNITS) if kind == "leave_one_out" else (_SESSIONS, _SESSION_UNITS)
    near = _NEIGHBOURS if kind == "leave_one_out" else (*_NEIGHBOURS, _RECENT)
    names = ", ".join(recipe.name for recipe in recipes)
    return (*near, *recipes, Blend(name=f"{names} and neighbours", recipes=recipes, filters=near))


def ablations(chosen: Recipe, wanted: list[str]) -> tuple[Recipe, ...]:
    """Return variants of the chosen recipe with one change each: encoder, attributes, loss, negatives.

    Args:
        chosen: Recipe to change.
        wanted: Names of the changes; empty: all that differ from the recipe.

    Raises:
        InputError: a name is unknown.
    """
    dropout, negatives = chosen.encoder.dropout, Uniform(count=4)
    changes: dict[str, dict] = {
        "ids only": {"attributes": False},
        "pooled": {"encoder": PooledConfig(dropout=dropout)},
        "GRU": {"encoder": GruConfig(dropout=dropout)},
        "convolutions": {"encoder": ConvConfig(dropout=dropout)},
        "attention": {"encoder": AttentionConfig(dropout=dropout)},
        "HSTU": {"encoder": HstuConfig(dropout=dropout)},
        "full softmax": {"loss": FullSoftmax()},
        "sampled softmax, in-batch": {"loss": SampledSoftmax(sources=(InBatch(),))},
        "sampled softmax, uniform": {"loss": SampledSoftmax(sources=(Uniform(count=2_048),))},
        "sampled softmax, popularity": {"loss": SampledSoftmax(sources=(Popularity(count=2_048),))},
        "BPR, uniform": {"loss": Bpr(source=negatives)},
        "BCE, uniform": {"loss": Bce(source=negatives)},
        "BCE, hard": {"loss": Bce(source=Hard(count=4))},
    }
    if unknown := [name for name in wanted if name not in changes]:
        raise InputError(f"--ablate '{unknown[0]}' is no variant", f"use some of: {'; '.join(changes)}")
    kinds = {type(chosen.encoder), FullSoftmax} if isinstance(chosen.loss, FullSoftmax) else {type(chosen.encoder)}
    return tuple(
        dataclasses.replace(chosen, name=f"{chosen.name}, but {name}", **change)
        for name, change in changes.items()
        if (name in wanted if wanted else kinds.isdisjoint(map(type, change.values())))
    )
