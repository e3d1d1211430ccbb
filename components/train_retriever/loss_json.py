"""The loss that a run names, as JSON: {"kind": "Bpr", "source": {"kind": "Hard", "count": 4}}; checked before it runs.

Source configs are variants inside of a variant, so both carry their kind.
"""

from typing import Any, get_args

from components.shared.config_fields import check_fields
from components.shared.errors import InputError
from components.shared.models.variants import variant_from_json, variant_to_json
from components.train_retriever.losses import LossConfig, SampledSoftmax
from components.train_retriever.negatives import Hard

_FIELD = "loss"


def loss_to_json(loss: LossConfig | None) -> dict[str, Any] | None:
    """Fields and kind of the loss and of its sources; None stays None."""
    return None if loss is None else variant_to_json(loss)


def loss_from_json(raw: dict[str, Any] | None) -> LossConfig | None:
    """What `loss_to_json` wrote, or a person; absent fields take their defaults, and nothing at all is None.

    Raises:
        InputError: it is of no known kind, has no such field, or a value cannot be used.
    """
    if not raw:
        return None
    loss = variant_from_json(raw, get_args(LossConfig), _FIELD)
    check_loss(loss)
    return loss


def check_loss(loss: LossConfig | None) -> None:
    """Refuse what no worker could train by.

    Raises:
        InputError: a count, pool, power or flag cannot be used, a sampled softmax has no sources, or Hard among them.
    """
    if loss is None:
        return
    check_fields(loss, _FIELD)
    if isinstance(loss, SampledSoftmax) and any(isinstance(source, Hard) for source in loss.sources):
        raise InputError(
            f"{_FIELD}: SampledSoftmax cannot take negatives of Hard, whose draws have no known probability",
            "use InBatch, Uniform or Popularity in it, or Hard as the source of Bpr or Bce",
        )
