"""A loss goes to the workers as JSON and comes back; what nobody could train by is refused by name."""

import json

import pytest

from components.shared.errors import InputError
from components.train_retriever.loss_json import check_loss, loss_from_json, loss_to_json
from components.train_retriever.losses import Bce, Bpr, FullSoftmax, Mse, SampledSoftmax
from components.train_retriever.negatives import Hard, InBatch, Popularity, Uniform

LOSSES = [
    None,
    FullSoftmax(bfloat16=False),
    SampledSoftmax(),
    SampledSoftmax(sources=(Popularity(count=9, power=0.5), InBatch())),
    Bpr(source=Hard(count=4, pool=20, refresh=3)),
    Bce(source=InBatch(count=2)),
    Mse(),
]


@pytest.mark.parametrize("loss", LOSSES, ids=str)
def test_a_loss_comes_back_as_it_went(loss):
    assert loss_from_json(json.loads(json.dumps(loss_to_json(loss)))) == loss


def test_what_is_not_named_has_its_default():
    assert loss_from_json({}) is None
    assert loss_from_json({"kind": "Bpr"}) == Bpr()
    assert loss_from_json({"kind": "Bce", "source": {"kind": "Hard", "count": 4}}) == Bce(source=Hard(count=4))


@pytest.mark.parametrize(
    ("raw", "words"),
    [
        ({"kind": "Hinge"}, "loss: there is no kind 'Hinge'\n.*FullSoftmax, SampledSoftmax, Bpr, Bce, Mse"),
        ({"source": {"kind": "Hard"}}, "loss: there is no kind ''"),
        ({"kind": "FullSoftmax", "source": {"kind": "Uniform"}}, "loss: 'source' is no field of FullSoftmax"),
        ({"kind": "Bpr", "source": {"kind": "Nearest"}}, "loss.source: there is no kind 'Nearest'"),
        ({"kind": "Mse", "source": {"kind": "Uniform"}}, "loss: 'source' is no field of Mse\n.*no fields"),
        ({"kind": "Bpr", "source": "Hard"}, "loss.source is 'Hard', not an object"),
        ({"kind": "Bpr", "source": {"kind": "Hard", "size": 4}}, "loss.source: 'size' is no field of Hard"),
        (
            {"kind": "SampledSoftmax", "sources": {"kind": "InBatch"}},
            "loss: sources is .*\n.*a list of at least one, each an object of a kind among: InBatch",
        ),
        ({"kind": "SampledSoftmax", "sources": []}, r"loss: sources is \[\]\n.*a list of at least one"),
        ({"kind": "SampledSoftmax", "sources": [{"kind": "Uniform", "count": 0}]}, r"loss.sources\[0\]: count is 0"),
        ({"kind": "Bpr", "source": None}, "loss.source is None, not an object"),
        ({"kind": "Bce", "source": {"kind": "Popularity", "power": float("nan")}}, "loss.source: power is nan"),
        ({"kind": "SampledSoftmax", "sources": [{"kind": "Hard"}]}, "loss: SampledSoftmax cannot take .* Hard"),
        (
            {"kind": "Bpr", "source": {"kind": "Uniform", "count": 0}},
            "loss.source: count is 0\n.*a whole number from 1",
        ),
        ({"kind": "Bpr", "source": {"kind": "Uniform", "count": True}}, "loss.source: count is True"),
        ({"kind": "Bce", "source": {"kind": "Hard", "pool": 2.5}}, "loss.source: pool is 2.5"),
        ({"kind": "Bce", "source": {"kind": "Hard", "refresh": 0}}, "loss.source: refresh is 0"),
        ({"kind": "Bce", "source": {"kind": "Popularity", "power": -1}}, "loss.source: power is -1\n.*a number from 0"),
        ({"kind": "Bce", "source": {"kind": "Popularity", "power": "x"}}, "loss.source: power is 'x'"),
        ({"kind": "FullSoftmax", "bfloat16": "yes"}, "loss: bfloat16 is 'yes'\n.*true or false"),
    ],
)
def test_what_cannot_be_used_is_named(raw, words):
    with pytest.raises(InputError, match=words):
        loss_from_json(raw)


def test_losses_made_in_python_are_checked_alike():
    for loss in LOSSES:
        check_loss(loss)
    with pytest.raises(InputError, match=r"loss.sources\[1\]: count is -1"):
        check_loss(SampledSoftmax(sources=(Uniform(count=3), InBatch(count=-1))))
