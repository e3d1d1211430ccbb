"""Options as JSON: valid values survive a round trip, anything else is refused with the path of its field."""

import json
import math
from typing import Annotated, Any, Literal, get_args

import pytest
from google.protobuf.json_format import MessageToJson
from google.protobuf.struct_pb2 import Struct
from hypothesis import given
from hypothesis import strategies as st
from pydantic import Field, ValidationError

from components.shared.errors import InputError
from components.shared.models.encoders.config import (
    AttentionConfig,
    ConvConfig,
    EncoderConfig,
    GruConfig,
    HstuConfig,
    PooledConfig,
    check_heads,
)
from components.shared.models.ranker import RankerConfig
from components.shared.models.ranker_options import (
    HEADS,
    INTERACTIONS,
    CrossConfig,
    MmoeConfig,
    PleConfig,
    RankerArchitecture,
    TargetAttentionConfig,
)
from components.shared.models.retriever import RetrieverConfig, encoder_from_json, encoder_to_json
from components.shared.options import KIND, Amount, Count, Options, Rate, Share, merged, refused
from components.train_retriever.losses.config import Bpr, Hard, LossConfig, NegativeSource, SampledSoftmax, Uniform

ENCODERS: tuple[type[Any], ...] = get_args(EncoderConfig)
MODELS: tuple[type[Any], ...] = (
    *ENCODERS, *INTERACTIONS, *HEADS, TargetAttentionConfig, *get_args(LossConfig), *get_args(NegativeSource),
)  # fmt: skip
PLAIN = {"sources", "source", "bfloat16", "kind"}
FIELDS = [(model, name) for model in MODELS for name in model.model_fields if name not in PLAIN]

WHOLE = st.integers(1, 10**6)
GOOD = {
    "dropout": st.floats(0, 1, exclude_max=True), "rank": st.integers(0, 10**6), "power": st.floats(0, 1e6),
    "dilations": st.lists(WHOLE, min_size=1, max_size=5),
}  # fmt: skip
"""Valid values of the fields that are not plain counts."""

NOT_NUMBERS = st.none() | st.booleans() | st.text(max_size=5) | st.lists(st.integers(), max_size=2) | st.just({})
NOT_WHOLE = NOT_NUMBERS | st.floats(allow_nan=False, allow_infinity=False).filter(lambda one: one != int(one))
NEGATIVE = st.floats(max_value=0, exclude_max=True, allow_nan=False, allow_infinity=False)
BAD = {
    "dropout": NOT_NUMBERS | NEGATIVE | st.floats(min_value=1, allow_infinity=False),
    "power": NOT_NUMBERS | NEGATIVE,
    "rank": NOT_WHOLE | st.integers(max_value=-1),
    "dilations": st.none() | st.text(max_size=5) | WHOLE | st.just([]) | st.lists(NOT_WHOLE, min_size=1, max_size=3),
}
NOT_A_COUNT = NOT_WHOLE | st.integers(max_value=0)


class Inner(Options):
    kind: Literal["inner"] = "inner"
    count: Count = 1


class Other(Options):
    kind: Literal["other"] = "other"
    share: Share = 0.5


class Outer(Options):
    amount: Amount = 0
    rate: Rate = 0.1
    shape: Literal["flat", "round"] = "flat"
    whether: bool = True
    inner: Annotated[Inner | Other, KIND] = Inner()
    some: Inner | None = None
    several: Annotated[tuple[Annotated[Inner | Other, KIND], ...], Field(min_length=1)] = (Inner(),)
    words: tuple[Literal["a", "b"], ...] = ("a",)
    texts: dict[str, str] = Field(default_factory=dict)


@pytest.mark.parametrize("model", MODELS)
@given(data=st.data())
def test_valid_options_survive_a_json_round_trip(model, data):
    names = [name for name in model.model_fields if name not in PLAIN]
    given = {name: data.draw(GOOD.get(name, WHOLE), name) for name in names}
    options = model.read(given, "x")
    assert model.read(json.loads(json.dumps(options.to_json())), "x") == options
    assert {name: options.to_json()[name] for name in given} == given
    assert model.read(options.set_fields(), "x") == options
    assert model() == model.read({}, "x")


@pytest.mark.parametrize(("model", "name"), FIELDS)
@given(data=st.data())
def test_invalid_value_is_refused_with_its_path(model, name, data):
    value = data.draw(BAD.get(name, NOT_A_COUNT))
    with pytest.raises(InputError) as caught:
        model.read({name: value}, "part")
    assert caught.value.headline.startswith(f"part.{name}") and caught.value.fix


@pytest.mark.parametrize("model", MODELS)
@given(name=st.text(max_size=12))
def test_unknown_field_is_refused(model, name):
    if name in model.model_fields:
        return
    with pytest.raises(InputError) as caught:
        model.read({name: 1}, "part")
    assert caught.value.headline == f"part.{name} is not an option"
    assert all(one in caught.value.fix for one in model.model_fields)


@pytest.mark.parametrize(
    ("raw", "headline", "fix"),
    [
        ({"amount": -1}, "o.amount is -1", "give 0 or more"),
        ({"amount": True}, "o.amount is true", "give a whole number"),
        ({"amount": 1.5}, "o.amount is 1.5", "give a whole number"),
        ({"rate": "fast"}, "o.rate is 'fast'", "give a number"),
        ({"rate": math.inf}, "o.rate is inf", "give a finite number"),
        ({"shape": "square"}, "o.shape is 'square'", "use one of: flat, round"),
        ({"whether": 1}, "o.whether is 1", "give true or false"),
        ({"inner": None}, "o.inner is null", "give an object"),
        ({"inner": {}}, "o.inner: {} has no kind", "use one of: inner, other"),
        ({"inner": {"kind": "outer"}}, "o.inner: kind is 'outer'", "use one of: inner, other"),
        ({"inner": {"kind": "inner", "count": 0}}, "o.inner.count is 0", "give 1 or more"),
        ({"inner": {"kind": "other", "share": 1}}, "o.inner.share is 1", "give a number below 1"),
        ({"inner": {"kind": "other", "count": 1}}, "o.inner.count is not an option", "use one of: kind, share"),
        ({"some": {"counts": 1}}, "o.some.counts is not an option", "did you mean 'count'? use one of: kind, count"),
        ({"several": {"kind": "inner"}}, "o.several is {'kind': 'inner'}", "give a list"),
        ({"several": []}, "o.several is []", "1 or more"),
        ({"several": [{"kind": "inner"}, 3]}, "o.several[1] is 3", "give an object"),
        ({"several": [{"kind": "inner", "count": 0.5}]}, "o.several[0].count is 0.5", "whole number"),
        ({"words": "a"}, "o.words is 'a'", "give a list"),
        ({"words": ["b", "c"]}, "o.words[1] is 'c'", "use one of: a, b"),
        ({"texts": {"run": 1}}, "o.texts.run is 1", "give a string"),
        ({"shade": 1}, "o.shade is not an option", "did you mean 'shape'?"),
        ({"rate": {1, 2}}, "o.rate is {1, 2}", "a list or an object"),
    ],
)
def test_error_names_path_value_and_allowed_values(raw, headline, fix):
    with pytest.raises(InputError) as caught:
        Outer.read(raw, "o")
    assert headline in caught.value.headline and fix in caught.value.fix


def test_error_of_a_validator_of_several_fields_keeps_its_fix():
    class Pair(Options):
        low: int = 0
        high: int = 1

        def model_post_init(self, _context: Any) -> None:
            if self.low > self.high:
                raise refused("low exceeds high", "give low <= high")

    class Holder(Options):
        pair: Pair = Pair()

    with pytest.raises(InputError) as caught:
        Holder.read({"pair": {"low": 2}}, "")
    assert (caught.value.headline, caught.value.fix) == ("pair: low exceeds high", "give low <= high")


def test_integers_that_kfp_passes_as_floats_are_accepted():
    form = Struct()
    form.update({"amount": 3, "rate": 2, "inner": {"kind": "other", "share": 0.5}, "several": [{"kind": "inner"}]})
    arrived = json.loads(MessageToJson(form))
    assert isinstance(arrived["amount"], float)
    assert Outer.read(arrived, "o") == Outer(amount=3, rate=2, inner=Other())


def test_options_are_frozen_and_replaced_with_validation():
    options = Outer(amount=4)
    assert options.replace(rate=1.0) == Outer(amount=4, rate=1.0)
    assert options.replace(rate=1.0).model_fields_set == {"amount", "rate"}
    with pytest.raises(ValidationError):
        options.replace(amount=-1)
    with pytest.raises(ValidationError):
        options.amount = 3


def test_merge_is_recursive_and_replaces_objects_of_another_kind():
    base = {"inner": {"kind": "inner", "count": 3}, "rate": 0.2, "texts": {"a": "1"}}
    assert merged(base, {"inner": {"kind": "inner"}})["inner"] == {"kind": "inner", "count": 3}
    assert merged(base, {"inner": {"kind": "other"}})["inner"] == {"kind": "other"}
    assert merged(base, {"inner": {"count": 5}})["inner"] == {"kind": "inner", "count": 5}
    assert merged(base, {"texts": {"b": "2"}, "rate": None}) == {**base, "texts": {"a": "1", "b": "2"}, "rate": None}
    assert base["rate"] == 0.2


@pytest.mark.parametrize(
    ("raw", "message"),
    [
        ({"head": {"kind": "mmoe"}}, "architecture.head is not an option\n.*interaction, heads, positions, attention"),
        ({"positions": "ten"}, "architecture.positions is 'ten'\n.*whole number"),
        ({"positions": None}, "architecture.positions is null"),
        ({"places": 3}, "architecture.places is not an option"),
        ({"heads": {"kind": "mmoe", "experts": 0}}, "architecture.heads.experts is 0"),
        ({"heads": "mmoe"}, "architecture.heads is 'mmoe'"),
        ({"heads": {"kind": "MmoeConfig"}}, "architecture.heads: kind is 'MmoeConfig'\n.*mmoe, ple"),
        ({"interaction": {"kind": "cross", "rank": -1}}, "architecture.interaction.rank is -1"),
        ({"attention": {"hidden_dim": "64"}}, "architecture.attention.hidden_dim is '64'"),
    ],
)
def test_invalid_ranker_architecture_is_refused(raw, message):
    with pytest.raises(InputError, match=message):
        RankerArchitecture.read(raw, "architecture")


def test_hard_negatives_are_valid_for_bpr_but_not_for_sampled_softmax():
    with pytest.raises(InputError, match=r"loss.sources\[1\]: kind is 'hard'\n.*in_batch, uniform, popularity"):
        SampledSoftmax.read({"sources": [{"kind": "uniform"}, {"kind": "hard"}]}, "loss")
    assert Bpr.read({"source": {"kind": "hard", "count": 4}}, "loss") == Bpr(source=Hard(count=4))
    assert SampledSoftmax(sources=(Uniform(count=3),)).to_json()["sources"] == [{"kind": "uniform", "count": 3}]


def test_heads_must_divide_the_embedding_dim():
    for config in (AttentionConfig(heads=3), HstuConfig(heads=3)):
        with pytest.raises(InputError, match=r"encoder: heads is 3, .*embedding_dim, 32\n.*one of: 1, 2, 4, 8, 16, 32"):
            check_heads(config, 32)
        check_heads(config, 33)
    for config in (PooledConfig(), GruConfig(), ConvConfig()):
        check_heads(config, 7)


STORED = {
    "user_features": [{"name": "sequence", "rows": 9, "max_length": 4}],
    "item_features": [{"name": "item", "rows": 9, "max_length": 1}], "embedding_dim": 8, "hidden_dim": 16,
}  # fmt: skip
"""Fields that config.json of both models has."""


@pytest.mark.parametrize(
    "architecture",
    [
        RankerArchitecture(),
        RankerArchitecture(
            interaction=CrossConfig(rank=0), heads=PleConfig(), positions=3, attention=TargetAttentionConfig()
        ),
        RankerArchitecture(heads=MmoeConfig(experts=2)),
    ],
)
def test_ranker_config_survives_a_round_trip(architecture, tmp_path):
    raw = {**STORED, "tasks": ["again", "first"], "dense_mean": [0.0], "dense_std": [1.0]}
    (tmp_path / "config.json").write_text(json.dumps({**raw, "architecture": architecture.to_json()}))
    found = RankerConfig.read(tmp_path / "config.json")
    assert found.architecture == architecture
    found.write(tmp_path / "again.json")
    assert json.loads((tmp_path / "again.json").read_text()) == {**raw, "architecture": architecture.to_json()}
    (tmp_path / "config.json").write_text(json.dumps(raw))
    assert RankerConfig.read(tmp_path / "config.json").architecture == RankerArchitecture()


def test_config_of_an_earlier_format_is_refused(tmp_path):
    earlier = {"interaction": {"kind": "DotConfig"}, "heads": {"kind": "SharedBottomConfig"}, "places": 0}
    raw = {**STORED, "tasks": ["again"], "dense_mean": [0.0], "dense_std": [1.0], "architecture": earlier}
    (tmp_path / "config.json").write_text(json.dumps(raw))
    with pytest.raises(InputError, match=r"architecture.interaction: kind is 'DotConfig'\n.*dot, cross"):
        RankerConfig.read(tmp_path / "config.json")


@pytest.mark.parametrize("encoder", [None, *(model() for model in ENCODERS)], ids=str)
def test_retriever_config_survives_a_round_trip(encoder, tmp_path):
    stored = {**STORED, "encoder": encoder_to_json(encoder), "content_dim": 0}
    (tmp_path / "config.json").write_text(json.dumps(stored))
    found = RetrieverConfig.read(tmp_path / "config.json")
    assert found.encoder == encoder == encoder_from_json(encoder_to_json(encoder))
    found.write(tmp_path / "again.json")
    assert json.loads((tmp_path / "again.json").read_text()) == stored
