"""Hyperparameter values are applied to a configuration and read back; invalid values are refused."""

import math
from typing import Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from components.shared.errors import InputError
from components.shared.options import Options
from components.shared.tuning.hyperparameters import FILE, Hyperparameters, read_hyperparameters
from components.shared.tuning.search_space import Choice, Float, Int, SearchSpace, Variant


class Inner(Options):
    lr: float = 0.1
    steps: int = 3


class Dot(Options):
    kind: Literal["dot"] = "dot"
    scale: float = 1.0


class Cross(Options):
    kind: Literal["cross"] = "cross"
    layers: int = 2


class Outer(Options):
    meeting: Dot | Cross | None = Dot(scale=0.5)
    inner: Inner = Inner()
    width: int = 32
    shape: str = "flat"
    kept: int = 9


SPACE = SearchSpace({
    "inner.lr": Float(low=1e-3, high=1.0, log=True), "inner.steps": Int(low=1, high=8),
    "width": Choice(options=(16, 32, 64)), "shape": Choice(options=("flat", "round")),
    "meeting": Variant(kinds=(Dot, Cross)), "meeting.layers": Int(low=1, high=4),
})  # fmt: skip


@given(
    st.fixed_dictionaries({}, optional={
        "inner.lr": st.floats(1e-3, 1.0), "inner.steps": st.integers(1, 8), "width": st.integers(1, 4096),
        "shape": st.sampled_from(["flat", "round"]), "meeting": st.sampled_from(["dot", "cross"]),
    })
)  # fmt: skip
def test_applied_values_are_read_back_and_other_fields_stay(values):
    applied = SPACE.apply(Outer(), values)
    cross = {"meeting.layers": 2} if values.get("meeting") == "cross" else {}
    assert SPACE.values(applied) == {**SPACE.values(Outer()), **values, **cross}
    assert applied.kept == 9 and (applied.inner == Inner() or any(name.startswith("inner") for name in values))


@pytest.mark.parametrize(
    ("name", "value", "fix"),
    [
        ("kept", 3, "inner.lr, inner.steps, width, shape, meeting, meeting.layers"), ("inner", {}, "inner.lr"),
        ("inner.lr", "0.1", "a number"),
        ("inner.lr", True, "a number"), ("inner.lr", math.nan, "a number"), ("inner.lr", 2.0, "0.001 to 1"),
        ("inner.steps", 2.0, "a whole number"), ("inner.steps", 0, "1 to 8"), ("width", 32.0, "a positive int"),
        ("width", 0, "a positive int"), ("width", True, "a positive int"), ("shape", "square", "flat, round"),
        ("shape", None, "flat, round"), ("meeting", "Sum", "dot, cross"), ("meeting", 2, "dot, cross"),
    ],
)  # fmt: skip
def test_invalid_hyperparameter_is_refused_by_name(name, value, fix):
    with pytest.raises(InputError) as caught:
        SPACE.apply(Outer(), {name: value})
    assert f"hyperparameter '{name}'" in caught.value.headline and fix in caught.value.fix


def test_variant_of_the_current_kind_keeps_its_fields():
    assert SPACE.apply(Outer(), {"meeting": "dot"}).meeting == Dot(scale=0.5)
    assert SPACE.apply(Outer(), {"meeting": "cross"}).meeting == Cross()


def test_nested_values_apply_only_to_variants_that_have_them():
    assert "meeting.layers" not in SPACE.values(Outer())
    assert SPACE.applies("meeting.layers", {"meeting": "cross"}) and SPACE.applies("width", {})
    assert not SPACE.applies("meeting.layers", {"meeting": "dot"})
    # In any order: the variant is applied first.
    applied = SPACE.apply(Outer(), {"meeting.layers": 3, "meeting": "cross"})
    assert applied.meeting == Cross(layers=3)
    assert SPACE.apply(applied, {"meeting.layers": 4}).meeting == Cross(layers=4)
    with pytest.raises(InputError, match=r"'meeting.layers' does not apply: 'meeting' is 'dot'") as caught:
        SPACE.apply(Outer(), {"meeting.layers": 3})
    assert caught.value.fix == "remove it, or choose one of: cross"
    with pytest.raises(InputError, match=r"'meeting.layers' is 9"):
        SPACE.apply(applied, {"meeting.layers": 9})


def test_variant_may_be_none():
    space = SearchSpace({"meeting": Variant(kinds=(type(None), Cross)), "meeting.layers": Int(low=1, high=4)})
    without = space.apply(Outer(), {"meeting": "none"})
    assert without.meeting is None and space.values(without) == {"meeting": "none"}
    with pytest.raises(InputError, match=r"does not apply: 'meeting' is 'none'"):
        space.apply(without, {"meeting.layers": 1})
    assert space.apply(without, {"meeting": "cross"}).meeting == Cross()
    with pytest.raises(InputError, match="'meeting' is 'dot'"):
        space.apply(without, {"meeting": "dot"})


def test_hyperparameters_are_read_from_text_file_and_folder(tmp_path):
    hyperparameters = Hyperparameters(
        model="ranker", values={"width": 8, "inner.lr": 0.5}, metric="auc", value=0.75, trial=4
    )
    hyperparameters.write(tmp_path)
    for source in (hyperparameters.text, str(tmp_path), str(tmp_path / FILE)):
        assert read_hyperparameters(source, "ranker") == hyperparameters
    assert read_hyperparameters('{"model": "ranker", "values": {}}', "ranker").values == {}


@pytest.mark.parametrize(
    ("text", "headline"),
    [
        ('{"model": "ranker"}', "'values' is missing"), ('{"values": {}}', "'model' is missing"),
        ('{"model": "retriever", "values": {}}', "'model' is 'retriever', not 'ranker'"),
        ('{"model": "ranker", "values": [1]}', "'values' is [1]"), ('{"model": "ranker", "values": {}', "not JSON"),
        ('{"model": "ranker", "values": {}, "colour": 1}', "'colour' is not a field"),
        ("/nowhere/best", "/nowhere/best does not exist"),
    ],
)  # fmt: skip
def test_invalid_hyperparameters_are_refused(text, headline):
    with pytest.raises(InputError) as caught:
        read_hyperparameters(text, "ranker")
    assert headline in caught.value.headline and caught.value.fix


def test_hyperparameters_must_be_an_object(tmp_path):
    (tmp_path / FILE).write_text("[]")
    with pytest.raises(InputError, match="not an object"):
        read_hyperparameters(str(tmp_path), "ranker")
