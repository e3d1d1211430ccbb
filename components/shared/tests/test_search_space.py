"""Values go into a configuration, and out again; what cannot be used is named."""

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
def test_what_is_applied_is_read_again_and_the_rest_stays(values):
    made = SPACE.apply(Outer(), values)
    cross = {"meeting.layers": 2} if values.get("meeting") == "cross" else {}
    assert SPACE.values(made) == {**SPACE.values(Outer()), **values, **cross}
    assert made.kept == 9 and (made.inner == Inner() or any(name.startswith("inner") for name in values))


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
def test_what_cannot_be_used_is_named(name, value, fix):
    with pytest.raises(InputError) as caught:
        SPACE.apply(Outer(), {name: value})
    assert f"hyper-parameter '{name}'" in caught.value.headline and fix in caught.value.fix


def test_a_variant_of_the_kind_that_is_there_keeps_its_fields():
    assert SPACE.apply(Outer(), {"meeting": "dot"}).meeting == Dot(scale=0.5)
    assert SPACE.apply(Outer(), {"meeting": "cross"}).meeting == Cross()


def test_what_is_in_a_part_is_tuned_with_the_kinds_that_have_it():
    assert "meeting.layers" not in SPACE.values(Outer())
    assert SPACE.applies("meeting.layers", {"meeting": "cross"}) and SPACE.applies("width", {})
    assert not SPACE.applies("meeting.layers", {"meeting": "dot"})
    # Whatever the order: what the part is goes first.
    made = SPACE.apply(Outer(), {"meeting.layers": 3, "meeting": "cross"})
    assert made.meeting == Cross(layers=3)
    assert SPACE.apply(made, {"meeting.layers": 4}).meeting == Cross(layers=4)
    with pytest.raises(InputError, match=r"'meeting.layers' does not apply: 'meeting' is 'dot'") as caught:
        SPACE.apply(Outer(), {"meeting.layers": 3})
    assert caught.value.fix == "remove it, or choose one of: cross"
    with pytest.raises(InputError, match=r"'meeting.layers' is 9"):
        SPACE.apply(made, {"meeting.layers": 9})


def test_a_part_may_be_absent():
    space = SearchSpace({"meeting": Variant(kinds=(type(None), Cross)), "meeting.layers": Int(low=1, high=4)})
    without = space.apply(Outer(), {"meeting": "none"})
    assert without.meeting is None and space.values(without) == {"meeting": "none"}
    with pytest.raises(InputError, match=r"does not apply: 'meeting' is 'none'"):
        space.apply(without, {"meeting.layers": 1})
    assert space.apply(without, {"meeting": "cross"}).meeting == Cross()
    with pytest.raises(InputError, match="'meeting' is 'dot'"):
        space.apply(without, {"meeting": "dot"})


def test_hyperparameters_come_back_from_text_file_and_folder(tmp_path):
    made = Hyperparameters(model="ranker", values={"width": 8, "inner.lr": 0.5}, metric="auc", value=0.75, trial=4)
    made.write(tmp_path)
    for given_ in (made.text, str(tmp_path), str(tmp_path / FILE)):
        assert read_hyperparameters(given_, "ranker") == made
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
def test_other_files_are_refused(text, headline):
    with pytest.raises(InputError) as caught:
        read_hyperparameters(text, "ranker")
    assert headline in caught.value.headline and caught.value.fix


def test_a_list_is_no_configuration(tmp_path):
    (tmp_path / FILE).write_text("[]")
    with pytest.raises(InputError, match="not an object"):
        read_hyperparameters(str(tmp_path), "ranker")
