"""Configs as JSON: what they may hold comes back as it went, and anything else is refused by its field's name."""

import dataclasses
import json
import math
from collections.abc import Sequence
from typing import Any, Literal, get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from components.shared.config_fields import Amount, Count, Rate, Share, check_fields
from components.shared.errors import InputError
from components.shared.features.spec import SparseFeature
from components.shared.models.encoders.config import (
    AttentionConfig,
    ConvConfig,
    EncoderConfig,
    GruConfig,
    HstuConfig,
    PooledConfig,
    check_heads,
)
from components.shared.models.interactions import INTERACTIONS, CrossConfig
from components.shared.models.ranker import RankerArchitecture, RankerConfig
from components.shared.models.retriever import RetrieverConfig, encoder_from_json, encoder_to_json
from components.shared.models.target_attention import TargetAttentionConfig
from components.shared.models.task_heads import HEADS, MmoeConfig, PleConfig
from components.shared.models.variants import (
    fields_from_json,
    fields_to_json,
    json_object,
    variant_from_json,
    variant_to_json,
)

ENCODERS: tuple[type[Any], ...] = get_args(EncoderConfig)
CONFIGS: tuple[type[Any], ...] = (*ENCODERS, *INTERACTIONS, *HEADS, TargetAttentionConfig)
FIELDS = [(kind, field.name) for kind in CONFIGS for field in dataclasses.fields(kind)]

WHOLE = st.integers(1, 10**6)
SHARES = st.floats(0, 1, exclude_max=True)
GOOD = {"dropout": SHARES, "rank": st.integers(0, 10**6), "dilations": st.lists(WHOLE, min_size=1, max_size=5)}
"""Values of the fields that are no plain counts."""

NOT_NUMBERS = st.none() | st.booleans() | st.text(max_size=5) | st.lists(st.integers(), max_size=2) | st.just({})
NOT_WHOLE = NOT_NUMBERS | st.floats()
BAD = {
    "dropout": NOT_NUMBERS | st.floats(max_value=0, exclude_max=True) | st.floats(min_value=1) | st.just(math.nan),
    "rank": NOT_WHOLE | st.integers(max_value=-1),
    "dilations": st.none() | st.text(max_size=5) | WHOLE | st.just([]) | st.lists(NOT_WHOLE, min_size=1, max_size=3),
}
NO_COUNT = NOT_WHOLE | st.integers(max_value=0)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Inner:
    count: Count = 1


@dataclasses.dataclass(frozen=True, kw_only=True)
class Other:
    share: Share = 0.5


@dataclasses.dataclass(frozen=True, kw_only=True)
class Outer:
    amount: Amount = 0
    rate: Rate = 0.1
    shape: Literal["flat", "round"] = "flat"
    whether: bool = True
    inner: Inner | Other = Inner()
    some: Inner | None = None
    several: tuple[Inner | Other, ...] = (Inner(),)
    words: Sequence[Literal["a", "b"]] = ("a",)


@pytest.mark.parametrize("kind", CONFIGS)
def test_every_declared_default_comes_back_as_it_went(kind):
    assert variant_from_json(json.loads(json.dumps(variant_to_json(kind()))), CONFIGS, "x") == kind()
    assert variant_from_json({"kind": kind.__name__}, CONFIGS, "x") == kind()


@pytest.mark.parametrize("kind", CONFIGS)
@given(data=st.data())
def test_whatever_fits_comes_back_as_it_went(kind, data):
    fields = {field.name: data.draw(GOOD.get(field.name, WHOLE), field.name) for field in dataclasses.fields(kind)}
    made = variant_from_json({"kind": kind.__name__, **fields}, CONFIGS, "x")
    assert variant_from_json(json.loads(json.dumps(variant_to_json(made))), CONFIGS, "x") == made
    assert json.loads(json.dumps(variant_to_json(made))) == {"kind": kind.__name__, **fields}


@pytest.mark.parametrize(("kind", "name"), FIELDS)
@given(data=st.data())
def test_whatever_does_not_fit_is_refused_by_its_field(kind, name, data):
    value = data.draw(BAD.get(name, NO_COUNT))
    with pytest.raises(InputError) as refused:
        variant_from_json({"kind": kind.__name__, name: value}, CONFIGS, "part")
    assert refused.value.headline.startswith(f"part: {name}") and refused.value.mend.startswith("give a")
    bad = [one for one in value if repr(one) in refused.value.headline] if isinstance(value, list) else [value]
    assert value == [] or repr(bad[0]) in refused.value.headline


@pytest.mark.parametrize("kind", CONFIGS)
@given(name=st.text(max_size=12))
def test_every_unknown_field_is_refused(kind, name):
    known = {field.name for field in dataclasses.fields(kind)}
    if name in {*known, "kind"}:
        return
    with pytest.raises(InputError) as refused:
        variant_from_json({"kind": kind.__name__, name: 1}, CONFIGS, "part")
    assert refused.value.headline == f"part: '{name}' is no field of {kind.__name__}"
    assert all(one in refused.value.mend for one in known)


@pytest.mark.parametrize(
    ("raw", "headline", "mend"),
    [
        ({"amount": -1}, "o: amount is -1", "give a whole number from 0"),
        ({"amount": True}, "o: amount is True", "give a whole number from 0"),
        ({"rate": math.inf}, "o: rate is inf", "give a number from 0"),
        ({"rate": 10**400}, "o: rate is 1000", "give a number from 0"),
        ({"shape": "square"}, "o: shape is 'square'", "give one of: flat, round"),
        ({"shape": ["flat"]}, "o: shape is ['flat']", "give one of: flat, round"),
        ({"whether": 1}, "o: whether is 1", "give true or false"),
        ({"inner": None}, "o.inner is None, not an object", "Inner, Other"),
        ({"inner": "Inner"}, "o.inner is 'Inner', not an object", "Inner, Other"),
        ({"inner": {}}, "o.inner: there is no kind ''", "Inner, Other"),
        ({"inner": {"kind": ["Inner"]}}, "o.inner: there is no kind", "Inner, Other"),
        ({"inner": {"kind": "Inner", "count": 0}}, "o.inner: count is 0", "give a whole number from 1"),
        ({"inner": {"kind": "Other", "share": 1}}, "o.inner: share is 1", "give a number from 0 and below 1"),
        ({"some": {"kind": "Other"}}, "o.some: there is no kind 'Other'", "use one of: Inner"),
        ({"several": {"kind": "Inner"}}, "o: several is {'kind': 'Inner'}", "a list of at least one"),
        ({"several": []}, "o: several is []", "a list of at least one, each an object of a kind among: Inner, Other"),
        ({"several": [{"kind": "Inner"}, 3]}, "o.several[1] is 3, not an object", "Inner, Other"),
        ({"several": [{"kind": "Inner", "count": 0.5}]}, "o.several[0]: count is 0.5", "whole number"),
        ({"words": "a"}, "o: words is 'a'", "a list of at least one, each one of: a, b"),
        ({"words": ["b", "c"]}, "o: words[1] is 'c'", "give one of: a, b"),
        ({"shade": 1}, "o: 'shade' is no field", "use some of: amount, rate, shape, whether, inner, some, several"),
        ([1], "o is [1], not an object", "use some of: amount"),
    ],
)
def test_a_nested_config_is_refused_by_its_path(raw, headline, mend):
    with pytest.raises(InputError) as refused:
        fields_from_json(Outer(), raw, "o")
    assert headline in refused.value.headline and mend in refused.value.mend


def test_a_nested_config_comes_back_as_it_went_and_starts_from_what_is_there():
    made = Outer(amount=4, inner=Other(share=0), some=Inner(count=3), several=(Other(), Inner()), words=("b", "a"))
    assert fields_from_json(Outer(), json.loads(json.dumps(fields_to_json(made))), "o") == made
    assert fields_from_json(made, {}, "o") == made
    assert fields_from_json(made, {"some": None, "rate": 1}, "o") == dataclasses.replace(made, some=None, rate=1)


def test_configs_made_in_python_are_checked_alike():
    check_fields(Outer(), "o")
    for changed, words in (
        ({"amount": -1}, "o: amount is -1"), ({"inner": 3}, "o: inner is 3\n.*of a kind among: Inner, Other"),
        ({"inner": None}, "o: inner is None"), ({"some": Other()}, "o: some is Other"),
        ({"several": (Inner(count=0),)}, r"o.several\[0\]: count is 0"), ({"words": ()}, r"o: words is \[\]"),
    ):  # fmt: skip
        with pytest.raises(InputError, match=words):
            check_fields(dataclasses.replace(Outer(), **changed), "o")  # pyright: ignore[reportArgumentType]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("{", "x is not JSON"), ("3", "x is 3, not an object"), ("null", "x is None, not an object"),
        ('{"heads": 1, "heads": 2}', "x: 'heads' is given twice"),
        ('{"heads": {"experts": 1, "experts": 2}}', "x: 'experts' is given twice"),
    ],
)  # fmt: skip
def test_text_that_is_no_object_is_refused(text, words):
    with pytest.raises(InputError, match=words):
        json_object(text, "x")
    assert json_object("", "x") == json_object("{}", "x") == {}


@pytest.mark.parametrize(
    ("raw", "words"),
    [
        ({"head": {"kind": "MmoeConfig"}}, "architecture: 'head' is no field\n.*interaction, heads, places, attention"),
        ({"kind": "MmoeConfig"}, "architecture: 'kind' is no field"),
        ({"places": "ten"}, "architecture: places is 'ten'\n.*whole number from 0"),
        ({"places": -3}, "architecture: places is -3"),
        ({"places": None}, "architecture: places is None"),
        ({"heads": {"kind": "MmoeConfig", "experts": 0}}, "architecture.heads: experts is 0"),
        ({"heads": "MmoeConfig"}, "architecture.heads is 'MmoeConfig', not an object"),
        ({"heads": None}, "architecture.heads is None, not an object"),
        ({"interaction": {"kind": "CrossConfig", "rank": -1}}, "architecture.interaction: rank is -1"),
        ({"attention": {"kind": "TargetAttentionConfig", "hidden_dim": "64"}}, "attention: hidden_dim is '64'"),
        ({"attention": {}}, "architecture.attention: there is no kind ''"),
    ],
)
def test_what_no_ranker_could_be_is_refused(raw, words):
    with pytest.raises(InputError, match=words):
        RankerArchitecture.from_json(raw)


def test_null_takes_the_attention_away_and_an_absent_key_keeps_it():
    base = RankerArchitecture(heads=PleConfig(), attention=TargetAttentionConfig(hidden_dim=3), places=2)
    assert RankerArchitecture.from_json({"attention": None}, base) == dataclasses.replace(base, attention=None)
    changed = RankerArchitecture.from_json({"interaction": {"kind": "CrossConfig", "rank": 0}}, base)
    assert changed == dataclasses.replace(base, interaction=CrossConfig(rank=0))


def test_heads_must_divide_the_width():
    for config in (AttentionConfig(heads=3), HstuConfig(heads=3)):
        with pytest.raises(InputError, match=r"encoder: heads is 3, .*embedding_dim, 32\n.*one of: 1, 2, 4, 8, 16, 32"):
            check_heads(config, 32)
        check_heads(config, 33)
    for config in (PooledConfig(), GruConfig(), ConvConfig()):
        check_heads(config, 7)


EARLIER = {
    "user_features": [{"name": "sequence", "rows": 9, "max_length": 4}],
    "item_features": [{"name": "item", "rows": 9, "max_length": 1}], "embedding_dim": 8, "hidden_dim": 16,
}  # fmt: skip
"""As config.json of both models holds it."""


@pytest.mark.parametrize(
    ("architecture", "wanted"),
    [
        (None, RankerArchitecture()),
        (
            {"interaction": {"kind": "DotConfig"}, "heads": {"kind": "SharedBottomConfig"}, "places": 0,
             "attention": None},
            RankerArchitecture(),
        ),
        (
            {"interaction": {"kind": "CrossConfig", "layers": 2, "rank": 32}, "heads": {"kind": "MmoeConfig",
             "experts": 4}, "places": 3, "attention": {"kind": "TargetAttentionConfig", "hidden_dim": 16}},
            RankerArchitecture(
                interaction=CrossConfig(), heads=MmoeConfig(), places=3, attention=TargetAttentionConfig()
            ),
        ),
    ],
)  # fmt: skip
def test_rankers_trained_earlier_stay_readable_and_are_written_alike(architecture, wanted, tmp_path):
    raw = {**EARLIER, "tasks": ["again", "first"], "dense_mean": [0.0], "dense_std": [1.0]}
    stored = raw | ({"architecture": architecture} if architecture else {})
    (tmp_path / "config.json").write_text(json.dumps(stored))
    found = RankerConfig.read(tmp_path / "config.json")
    assert found.architecture == wanted
    found.write(tmp_path / "again.json")
    written = json.loads((tmp_path / "again.json").read_text())
    assert architecture is None or written == stored


@pytest.mark.parametrize("encoder", [None, *(kind() for kind in ENCODERS)], ids=str)
def test_retrievers_trained_earlier_stay_readable_and_are_written_alike(encoder, tmp_path):
    raw = None if encoder is None else {"kind": type(encoder).__name__, **dataclasses.asdict(encoder)}
    stored = {**EARLIER, "encoder": raw, "content_dim": 0}
    (tmp_path / "config.json").write_text(json.dumps(stored))
    found = RetrieverConfig.read(tmp_path / "config.json")
    assert found.encoder == encoder and found.user_features == (SparseFeature(name="sequence", rows=9, max_length=4),)
    found.write(tmp_path / "again.json")
    assert json.loads((tmp_path / "again.json").read_text()) == json.loads(json.dumps(stored))
    assert encoder_from_json(encoder_to_json(encoder)) == encoder
