"""What the KFP faces of both training stages take as JSON is read before anything is trained, and refused by name."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from kfp import dsl
from kfp.dsl import Dataset, Metrics, Model

from components.shared.config_fields import check_fields
from components.shared.errors import InputError
from components.shared.models.encoders.config import ConvConfig, GruConfig, check_heads
from components.shared.models.interactions import ConcatConfig, CrossConfig
from components.shared.models.ranker import RankerArchitecture
from components.shared.models.target_attention import TargetAttentionConfig
from components.shared.models.task_heads import MmoeConfig
from components.shared.schema.sizes import size_named
from components.shared.training.optimizer import check_optimizer
from components.shared.tuning.search_space import Float, Int, Range, SearchSpace, Value
from components.train_ranker import space as ranker_space
from components.train_ranker.component import train_ranker
from components.train_ranker.train import RankerTraining
from components.train_retriever import space as retriever_space
from components.train_retriever.component import train_retriever
from components.train_retriever.train import RetrieverTraining

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
        ("retriever", {"encoder": '{"kind": "GruConfig", "hidden_dim": "64"}'}, "encoder: hidden_dim is '64'"),
        ("retriever", {"encoder": '{"kind": "ConvConfig", "dropout": 3}'}, "encoder: dropout is 3"),
        ("retriever", {"encoder": '{"dropout": 0.1}'}, "encoder: there is no kind ''"),
        ("ranker", {"architecture": '{"head": {"kind": "MmoeConfig"}}'}, "architecture: 'head' is no field"),
        ("ranker", {"architecture": '{"places": "ten"}'}, "architecture: places is 'ten'"),
        ("ranker", {"architecture": '{"places": 1, "places": 2}'}, "architecture: 'places' is given twice"),
        ("ranker", {"architecture": '{"places": 10}'}, "places is 10, but nothing says at which places"),
        ("ranker", {"inference_log": "/log"}, "the architecture learns no places"),
        ("ranker", {"optimizer": '{"dense_lr": -1}'}, "optimizer: dense_lr is -1"),
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


def test_what_a_person_asks_of_the_retriever_wins_over_tuning_and_that_over_the_dial():
    dial = RetrieverTraining.from_size(size_named("tiny"), 0, 1)
    tuned = '{"model": "retriever", "values": {"encoder": "GruConfig", "optimizer.dense_lr": 0.01, "hidden_dim": 48}}'
    found = retriever_space.configured(dial, tuned)
    assert (found.encoder, found.optimizer.dense_lr, found.hidden_dim) == (GruConfig(), 0.01, 48)
    assert found.optimizer.embedding_lr == dial.optimizer.embedding_lr
    asked = retriever_space.configured(dial, tuned, '{"kind": "ConvConfig", "kernel": 2}', "", '{"dense_lr": 0.002}')
    assert (asked.encoder, asked.optimizer.dense_lr, asked.hidden_dim) == (ConvConfig(kernel=2), 0.002, 48)
    assert retriever_space.configured(dial) == dial
    assert retriever_space.configured(dial, tuned, "null").encoder is None, "null takes away what tuning found"


def test_what_a_person_asks_of_the_ranker_wins_over_tuning_and_that_over_the_dial():
    dial = RankerTraining.from_size(size_named("tiny"), 0, 1)
    tuned = """{"model": "ranker", "values": {"architecture.interaction": "CrossConfig", "epochs": 3,
        "architecture.attention": "TargetAttentionConfig", "optimizer.embedding_lr": 0.005}}"""
    asked = ranker_space.configured(
        dial, tuned, '{"interaction": {"kind": "ConcatConfig"}, "heads": {"kind": "MmoeConfig"}}', '{"rule": "sgd"}'
    )
    assert ranker_space.configured(dial, tuned).architecture.interaction == CrossConfig()
    assert asked.architecture.interaction == ConcatConfig() and asked.architecture.heads == MmoeConfig()
    assert asked.architecture.attention == TargetAttentionConfig()
    assert (asked.optimizer.rule, asked.optimizer.embedding_lr, asked.epochs) == ("sgd", 0.005, 3)
    assert ranker_space.configured(dial) == dial
    assert ranker_space.configured(dial, tuned, '{"attention": null}').architecture == RankerArchitecture(
        interaction=CrossConfig()
    )


def drawn(data: st.DataObject, found: Range):
    """Some value of a range of a search space."""
    match found:
        case Float(low=low, high=high):
            return data.draw(st.floats(low, high))
        case Int(low=low, high=high):
            return data.draw(st.integers(low, high))
        case _:
            return data.draw(st.sampled_from(found.options))


def drawn_from(data: st.DataObject, space: SearchSpace) -> dict[str, Value]:
    """Values of a whole search space, as a study would suggest them."""
    values: dict[str, Value] = {}
    for name, found in space.ranges.items():
        if space.applies(name, values):
            values[name] = drawn(data, found)
    return values


@pytest.mark.parametrize("size", ["tiny", "small", "full"])
@given(data=st.data())
def test_whatever_tuning_may_find_can_be_used(size, data):
    retriever, ranker = (one.from_size(size_named(size), 0, 1) for one in (RetrieverTraining, RankerTraining))
    space = retriever_space.search_space(retriever)
    made = space.apply(retriever, drawn_from(data, space))
    check_optimizer(made.optimizer)
    if made.encoder is not None:
        check_fields(made.encoder, "encoder")
        check_heads(made.encoder, made.embedding_dim)
    space = ranker_space.search_space(ranker)
    found = space.apply(ranker, drawn_from(data, space))
    check_optimizer(found.optimizer)
    check_fields(found.architecture, "architecture")
