"""Sections of both training components are validated before training, and errors name the path of the option."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from kfp import dsl
from kfp.dsl import Dataset, Metrics, Model

from components.shared.errors import InputError
from components.shared.models.encoders.config import ConvConfig, GruConfig, check_heads
from components.shared.models.ranker_options import (
    ConcatConfig,
    CrossConfig,
    MmoeConfig,
    RankerArchitecture,
    TargetAttentionConfig,
)
from components.shared.schema.sizes import size_named
from components.shared.tuning.search_space import Float, Int, Range, SearchSpace, Value
from components.train_ranker import space as ranker_space
from components.train_ranker.component import train_ranker
from components.train_ranker.config import RankerOptions, RankerTraining
from components.train_retriever import space as retriever_space
from components.train_retriever.component import train_retriever
from components.train_retriever.config import RetrieverOptions, RetrieverTraining

COMPONENTS = {
    "retriever": (train_retriever, {"model": Model()}),
    "ranker": (train_ranker, {"retriever": Model(), "model": Model()}),
}


def call(stage: str, options: dict, training: dict | None = None) -> None:
    component, models = COMPONENTS[stage]
    # The ranker's retriever is an input and its section is called ranker; the retriever's section is `retriever`.
    component.python_func(  # pyright: ignore[reportFunctionMemberAccess]
        features=Dataset(uri="/nowhere"), summary=Metrics(), task_config=dsl.TaskConfig(), size="tiny",
        training=training or {}, **{**models, stage: options},
    )  # fmt: skip


@pytest.mark.parametrize(
    ("stage", "options", "message"),
    [
        ("retriever", {"loss": {"kind": "hinge"}}, "retriever.loss: kind is 'hinge'"),
        ("retriever", {"loss": "bpr"}, "retriever.loss is 'bpr'"),
        ("retriever", {"optimizer": {"lr": 1}}, "retriever.optimizer.lr is not an option"),
        ("retriever", {"optimizer": [1]}, r"retriever.optimizer is \[1\]"),
        ("retriever", {"encoder": {"kind": "gru", "hidden_dim": "64"}}, "retriever.encoder.hidden_dim is '64'"),
        ("retriever", {"encoder": {"kind": "conv", "dropout": 3}}, "retriever.encoder.dropout is 3"),
        ("retriever", {"encoder": {"dropout": 0.1}}, "retriever.encoder: .* has no kind"),
        ("retriever", {"launch": {}}, "retriever.launch is not an option"),
        ("ranker", {"architecture": {"head": {"kind": "mmoe"}}}, "ranker.architecture.head is not an option"),
        ("ranker", {"architecture": {"positions": "ten"}}, "ranker.architecture.positions is 'ten'"),
        ("ranker", {"architecture": {"positions": 10}}, "positions is 10, but there are no positions"),
        ("ranker", {"inference_log": "/log"}, "architecture.positions is 0"),
        ("ranker", {"optimizer": {"dense_lr": -1}}, "ranker.optimizer.dense_lr is -1"),
        ("ranker", {"optimizer": {"rule": "lamb"}}, "ranker.optimizer.rule is 'lamb'"),
        ("ranker", {"hot_candidates": -1}, "ranker.hot_candidates is -1"),
    ],
)
def test_invalid_options_are_refused_with_their_path(stage, options, message):
    with pytest.raises(InputError, match=message):
        call(stage, options)


def test_valid_options_reach_the_checks_of_training_settings():
    good = {"loss": {"kind": "bpr", "source": {"kind": "hard", "count": 4}}, "optimizer": {"rule": "adam"}}
    with pytest.raises(InputError, match="processes is 7, which does not divide a batch of 256 rows"):
        call("retriever", good, {"processes": 7})
    with pytest.raises(InputError, match="processes is 7, which does not divide a batch of 4 shoppers"):
        call("ranker", {"optimizer": good["optimizer"]}, {"processes": 7})
    with pytest.raises(InputError, match="training: nodes is 2 with launch=process"):
        call("retriever", {}, {"nodes": 2})
    with pytest.raises(InputError, match=r"training.launch is 'slurm'\n.*process, trainjob"):
        call("ranker", {}, {"launch": "slurm"})


def test_retriever_options_override_tuned_values_which_override_the_size():
    size = RetrieverTraining.from_size(size_named("tiny"), 5)
    tuned = {
        "hyperparameters": """{"model": "retriever", "values":
        {"encoder": "gru", "optimizer.dense_lr": 0.01, "hidden_dim": 48}}"""
    }
    found = retriever_space.configured(size, tuned)
    assert (found.encoder, found.optimizer.dense_lr, found.hidden_dim) == (GruConfig(), 0.01, 48)
    assert found.optimizer.embedding_lr == size.optimizer.embedding_lr
    assert (found.optimizer.seed, found.sampling.seed, found.sampling.batch_size) == (5, 5, 256)
    given = {**tuned, "encoder": {"kind": "conv", "kernel": 2}, "optimizer": {"dense_lr": 0.002}}
    config = retriever_space.configured(size, given)
    assert (config.encoder, config.optimizer.dense_lr, config.hidden_dim) == (
        ConvConfig(kernel=2),
        0.002,
        48,
    )
    assert retriever_space.configured(size, {}) == size
    assert retriever_space.configured(size, {**tuned, "encoder": None}).encoder is None, "null wins over tuning too"


def test_ranker_options_override_tuned_values_which_override_the_size():
    size = RankerTraining.from_size(size_named("tiny"), 0)
    tuned = {
        "hyperparameters": """{"model": "ranker", "values": {"architecture.interaction": "cross", "epochs": 3,
        "architecture.attention": "TargetAttentionConfig", "optimizer.embedding_lr": 0.005}}"""
    }
    parts = {"interaction": {"kind": "concat"}, "heads": {"kind": "mmoe"}}
    config = ranker_space.configured(size, {**tuned, "architecture": parts, "optimizer": {"rule": "sgd"}})
    assert ranker_space.configured(size, tuned).architecture.interaction == CrossConfig()
    assert config.architecture.interaction == ConcatConfig() and config.architecture.heads == MmoeConfig()
    assert config.architecture.attention == TargetAttentionConfig()
    assert (config.optimizer.rule, config.optimizer.embedding_lr, config.epochs) == ("sgd", 0.005, 3)
    assert config.optimizer.schedule == "linear", "the ranker's own default stays"
    assert ranker_space.configured(size, {}) == size
    without = ranker_space.configured(size, {**tuned, "architecture": {"attention": None}})
    assert without.architecture == RankerArchitecture(interaction=CrossConfig())


def draw_value(data: st.DataObject, found: Range):
    """Draw a value from a range of a search space."""
    match found:
        case Float(low=low, high=high):
            return data.draw(st.floats(low, high))
        case Int(low=low, high=high):
            return data.draw(st.integers(low, high))
        case _:
            return data.draw(st.sampled_from(found.options))


def draw_values(data: st.DataObject, space: SearchSpace) -> dict[str, Value]:
    """Draw values for a whole search space, as a study would suggest them."""
    values: dict[str, Value] = {}
    for name, found in space.ranges.items():
        if space.applies(name, values):
            values[name] = draw_value(data, found)
    return values


@pytest.mark.parametrize("size", ["tiny", "small", "full"])
@given(data=st.data())
def test_any_tuning_suggestion_is_a_valid_configuration(size, data):
    retriever, ranker = (one.from_size(size_named(size), 0) for one in (RetrieverTraining, RankerTraining))
    space = retriever_space.search_space(retriever)
    config = space.apply(retriever, draw_values(data, space))
    RetrieverOptions.read(config.digest_settings, "retriever")
    if config.encoder is not None:
        check_heads(config.encoder, config.embedding_dim)
    space = ranker_space.search_space(ranker)
    RankerOptions.read(space.apply(ranker, draw_values(data, space)).digest_settings, "ranker")
