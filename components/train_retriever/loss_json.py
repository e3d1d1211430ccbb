"""The loss that a run names, as JSON: {"kind": "Bpr", "source": {"kind": "Hard", "count": 4}}; checked before it runs.

Source configs are variants inside of a variant, so both carry their kind.
"""

import math
from collections.abc import Callable
from typing import Any, get_args

from components.shared.errors import InputError
from components.shared.models.variants import variant_from_json, variant_to_json
from components.train_retriever.losses import FullSoftmax, LossConfig, Mse, SampledSoftmax
from components.train_retriever.negatives import Hard, NegativeSource

_FIELD = "loss"


def loss_to_json(loss: LossConfig | None) -> dict[str, Any] | None:
    """Fields and kind of the loss and of its sources; None stays None."""
    if loss is None:
        return None
    raw = variant_to_json(loss)
    if isinstance(loss, SampledSoftmax):
        raw["sources"] = [variant_to_json(source) for source in loss.sources]
    elif not isinstance(loss, FullSoftmax | Mse):
        raw["source"] = variant_to_json(loss.source)
    return raw


def loss_from_json(raw: dict[str, Any] | None) -> LossConfig | None:
    """What `loss_to_json` wrote, or a person; absent fields take their defaults, and nothing at all is None.

    Raises:
        InputError: it is of no known kind, has no such field, or a value cannot be used.
    """
    if not raw:
        return None
    fields = dict(raw)
    if "source" in fields:
        fields["source"] = _source(fields["source"], f"{_FIELD}.source")
    if "sources" in fields:
        if not isinstance(fields["sources"], list):
            raise InputError(f"{_FIELD}.sources is {fields['sources']!r}, not a list",
                             'give one such as [{"kind": "InBatch"}]')  # fmt: skip
        fields["sources"] = tuple(_source(source, f"{_FIELD}.sources") for source in fields["sources"])
    loss = variant_from_json(fields, get_args(LossConfig), _FIELD)
    check_loss(loss)
    return loss


def check_loss(loss: LossConfig | None) -> None:
    """Refuse what no worker could train by.

    Raises:
        InputError: a count, pool, power or flag cannot be used, a sampled softmax has no sources, or Hard among them.
    """
    if loss is None or isinstance(loss, Mse):
        return
    if isinstance(loss, FullSoftmax | SampledSoftmax):
        _refuse(loss, "bfloat16", lambda value: isinstance(value, bool), "true or false")
    if isinstance(loss, FullSoftmax):
        return
    sources = loss.sources if isinstance(loss, SampledSoftmax) else (loss.source,)
    if not sources:
        raise InputError(f"{_FIELD}: SampledSoftmax has no sources", 'give some, such as [{"kind": "InBatch"}]')
    for source in sources:
        _check_source(source)
        if isinstance(source, Hard) and isinstance(loss, SampledSoftmax):
            raise InputError(
                f"{_FIELD}: SampledSoftmax cannot take negatives of Hard, whose draws have no known probability",
                "use InBatch, Uniform or Popularity in it, or Hard as the source of Bpr or Bce",
            )


def _source(raw: Any, where: str) -> NegativeSource:
    if not isinstance(raw, dict):
        raise InputError(f"{where} is {raw!r}, not an object", 'give one such as {"kind": "Uniform", "count": 4}')
    return variant_from_json(raw, get_args(NegativeSource), where)


def _check_source(source: NegativeSource) -> None:
    for name in ("count", "pool", "refresh"):
        if hasattr(source, name):
            _refuse(source, name, lambda value: type(value) is int and value > 0, "a whole number above 0")
    if hasattr(source, "power"):
        _refuse(source, "power", _is_power, "a number from 0")


def _is_power(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value) and value >= 0


def _refuse(config: LossConfig | NegativeSource, name: str, fits: Callable[[Any], bool], wanted: str) -> None:
    value = getattr(config, name)
    if not fits(value):
        raise InputError(f"{_FIELD}: {name} of {type(config).__name__} is {value!r}", f"give {wanted}")
