"""Sections as KFP passes them: numbers become floats, whole floats become ints, and large sections do not arrive."""

import copy
import json
from collections.abc import Iterator, Mapping
from typing import Any

import pytest
from google.protobuf import json_format
from google.protobuf.struct_pb2 import Struct

from components.check_parameters.component import check_parameters
from components.shared.errors import InputError
from components.shared.options import MAX_SECTION_BYTES
from components.shared.schema.sizes import size_named
from pipelines.config import SECTIONS, defaults, given_options

GIVEN = {
    "rollout": {
        "evidence": "http://prometheus:9090",
        "gateway": "shoprank",
        "steps": [5, 100],
        "guards": {"max_duration_s": 600.0},
    },
    "ranker": {"architecture": {"heads": {"kind": "mmoe", "experts": 4}}, "teacher": {"soft_label_weight": 1.0}},
    "retriever": {"encoder": {"kind": "gru", "hidden_dim": 64}, "loss": {"kind": "bpr", "source": {"kind": "hard"}}},
}
"""Values of variants that are not among the defaults."""


def in_number_form(section: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """A section from KFP's API (a protobuf Struct: all numbers are doubles), and as its launcher writes it (2.0: 2)."""
    sent = json_format.ParseDict(dict(section), Struct())
    received = json_format.MessageToDict(sent)
    return received, json.loads(json.dumps(received), parse_float=lambda text: number(float(text)))


def number(value: float) -> int | float:
    return int(value) if value.is_integer() else value


def whole_floats(values: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    """Paths of the float values in a section."""
    for name, value in values.items():
        if isinstance(value, Mapping):
            yield from whole_floats(value, (*path, name))
        elif isinstance(value, float):
            yield (*path, name)


def same_options(section: str, values: Mapping[str, Any]) -> bool:
    """Whether a section gives the same options in both number forms; as text, in which 2 and 2.0 differ."""
    given, *received = [
        json.dumps(SECTIONS[section].read(one, section).to_json(), sort_keys=True)
        for one in (values, *in_number_form(values))
    ]
    return received == [given, given]


@pytest.mark.parametrize("size", ["tiny", "full"])
@pytest.mark.parametrize("section", SECTIONS)
def test_every_default_arrives_as_it_was_given(section, size):
    values = {name: value for name, value in defaults(size_named(size))[section].items() if value is not None}
    assert same_options(section, values) and same_options(section, GIVEN.get(section, {}))


def test_whole_values_of_every_float_option_arrive_as_floats():
    found = 0
    for section, values in defaults(size_named("small")).items():
        if section not in SECTIONS:
            continue
        for path in whole_floats(values):
            for whole in (0.0, 1.0, 2.0, 1000.0):
                changed = copy.deepcopy(values)
                inside = changed
                for name in path[:-1]:
                    inside = inside[name]
                inside[path[-1]] = whole
                try:
                    SECTIONS[section].read(changed, section)
                except InputError:
                    continue  # out of this option's range
                assert same_options(section, changed), (section, path, whole)
                found += 1
    assert found > 60


def test_the_first_step_accepts_sections_in_both_number_forms():
    for form in (0, 1):
        check_parameters.python_func(
            strategy="guarded", **{name: in_number_form(section)[form] for name, section in GIVEN.items()}
        )


def test_a_fraction_in_a_count_is_still_refused_by_its_path():
    received, _ = in_number_form({"hot_candidates": 2.5})
    with pytest.raises(InputError, match=r"ranker\.hot_candidates is 2\.5"):
        SECTIONS["ranker"].read(received, "ranker")


def lineage(characters: int, letter: str = "x") -> dict[str, Any]:
    return {"lineage": {"note": letter * characters}}


def test_section_that_kfp_does_not_pass_on_is_refused_with_its_size(tmp_path, shoprank):
    room = MAX_SECTION_BYTES - len(json.dumps(lineage(0)))
    check_parameters.python_func(release=lineage(room))
    for section in (lineage(room + 1), lineage(room // 3 + 1, "词")):
        with pytest.raises(InputError) as raised:
            check_parameters.python_func(release=section)
        assert raised.value.headline.startswith("release is 100,00") and "100,000" in raised.value.headline
        assert "path or URI" in raised.value.fix
    file = tmp_path / "shop.json"
    file.write_text(json.dumps({"release": lineage(400_000), "size": "tiny"}))
    with pytest.raises(InputError, match=r"release is 400,02\d bytes"):
        given_options(file, [])
    done = shoprank("submit", "training", "--host", "http://127.0.0.1:9", "--config", file)
    assert done.code == 2 and "release is 400,0" in done.err and "fix:" in done.err
