"""What the KFP faces of both training stages take as JSON is read before anything is trained, and refused by name."""

import pytest
from kfp import dsl
from kfp.dsl import Dataset, Metrics, Model

from components.shared.errors import InputError
from components.train_ranker.component import train_ranker
from components.train_retriever.component import train_retriever

FACES = {
    "retriever": (train_retriever, {"model": Model()}),
    "ranker": (train_ranker, {"retriever": Model(), "model": Model()}),
}


def call(stage: str, **parameters) -> None:
    component, models = FACES[stage]
    component.python_func(  # pyright: ignore[reportFunctionMemberAccess]
        features=Dataset(uri="/nowhere"), summary=Metrics(), task_config=dsl.TaskConfig(), size="tiny", **models,
        **parameters,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("stage", "parameters", "words"),
    [
        ("retriever", {"loss": '{"kind": "Hinge"}'}, "loss: there is no kind 'Hinge'"),
        ("retriever", {"loss": "Bpr"}, "loss is not JSON"),
        ("retriever", {"optimizer": '{"lr": 1}'}, "optimizer: 'lr' is no field"),
        ("retriever", {"optimizer": "[1]"}, r"optimizer is \[1\], not an object"),
        ("ranker", {"optimizer": '{"rule": "lamb"}'}, "optimizer: rule is 'lamb'"),
    ],
)
def test_what_cannot_be_used_is_refused_by_its_parameter(stage, parameters, words):
    with pytest.raises(InputError, match=words):
        call(stage, **parameters)


def test_what_can_be_used_goes_on_to_the_stage():
    good = {"loss": '{"kind": "Bpr", "source": {"kind": "Hard", "count": 4}}', "optimizer": '{"rule": "adam"}'}
    with pytest.raises(InputError, match="processes is 7, which does not divide a batch of 256 rows"):
        call("retriever", processes=7, **good)
    with pytest.raises(InputError, match="processes is 7, which does not divide a batch of 4 shoppers"):
        call("ranker", processes=7, optimizer=good["optimizer"])
