"""Search space of the ranker."""

from collections.abc import Mapping
from types import NoneType
from typing import Any

from components.shared.models.ranker_options import HEADS, INTERACTIONS, TargetAttentionConfig
from components.shared.tuning.configured import configured as overlaid
from components.shared.tuning.search_space import Choice, Float, SearchSpace, Variant
from components.train_ranker.config import RankerOptions, RankerTraining

MODEL = "ranker"
"""Name of the model in hyperparameters.json."""


def search_space(config: RankerTraining) -> SearchSpace:
    """Return ranges around the defaults of the size; candidates are not tuned, because all trials share their pairs.

    Higher learning rates of tables overfit the latest baskets, which costs more in later windows than it gains.
    """
    batch = config.batch_shoppers
    return SearchSpace({
        "optimizer.embedding_lr": Float(low=1e-5, high=0.01, log=True),
        "optimizer.dense_lr": Float(low=1e-4, high=1e-2, log=True),
        "batch_shoppers": Choice(options=(max(batch // 2, 1), batch, batch * 2)),
        "id_dropout": Float(low=0.0, high=0.9),
        "listwise": Float(low=0.0, high=1.0),
        "architecture.interaction": Variant(kinds=INTERACTIONS),
        "architecture.heads": Variant(kinds=HEADS),
        "architecture.attention": Variant(kinds=(NoneType, TargetAttentionConfig)),
        "embedding_dim": Choice(options=_around(config.embedding_dim)),
        "hidden_dim": Choice(options=_around(config.hidden_dim)),
        "epochs": Choice(options=(config.epochs, config.epochs * 2)),
    })  # fmt: skip


def _around(width: int) -> tuple[int, ...]:
    return width // 2, width, width * 2


def configured(base: RankerTraining, given: Mapping[str, Any]) -> RankerTraining:
    """Apply the tuning result and the options of section `ranker` to the defaults of a size.

    Raises:
        InputError: names the path of an invalid value.
    """
    return overlaid(base, RankerOptions, given, MODEL, search_space(base))
