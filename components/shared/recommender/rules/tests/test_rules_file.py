"""Files of rules: what is read, what is refused, and which items their selectors name."""

import time

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from components.shared.errors import InputError
from components.shared.features.catalog import Catalog
from components.shared.features.spec import FeatureSpec
from components.shared.recommender.rules.config import Hide, Merchandising
from components.shared.recommender.rules.reading import parse_rules, read_rules
from components.shared.recommender.rules.rulebook import Asked, Rulebook
from components.shared.recommender.rules.selection import Assortment
from components.shared.text.analyzer import Analyzer
from serving.tests.handmade import ITEMS, write_compiled


@pytest.fixture(scope="module")
def assortment(tmp_path_factory):
    """The handmade catalog, of which two items have attributes."""
    folder = write_compiled(tmp_path_factory.mktemp("rules") / "bundle")
    path = folder / "items.parquet"
    given = {"oat": [("Colour", "White"), ("尺寸", "大")], "box": [("colour", "red")]}
    attributes = [[], *(given.get(item[0], []) for item in ITEMS)]
    column = pa.array(attributes, pa.map_(pa.string(), pa.string()))
    pq.write_table(pq.read_table(path).drop_columns("attributes").append_column("attributes", column), path)
    catalog = Catalog.read(path, FeatureSpec.read(folder / "spec.json"), content=False)
    return Assortment(catalog, path)


def _ids(assortment, **selector):
    unknown = []
    rows = assortment.rows(Hide.read(selector, ""), unknown)
    return set(assortment.catalog.item_id.take(rows).to_pylist()), unknown


def test_selectors_name_items_to_which_all_of_it_applies(assortment):
    assert _ids(assortment, attributes={"colour": ["WHITE"]}) == ({"oat"}, [])
    assert _ids(assortment, attributes={"Colour": ["white", "Red"]})[0] == {"oat", "box"}
    assert _ids(assortment, attributes={"Colour": ["white"], "尺寸": ["大"]})[0] == {"oat"}
    assert _ids(assortment, attributes={"Colour": ["white"], "尺寸": ["小"]}) == (set(), ["尺寸 '小'"])
    assert _ids(assortment, attributes={"size": ["XL"]}) == (set(), ["attribute 'size'"])
    assert _ids(assortment, brands=["farmco"], price_max=2)[0] == {"whole"}
    assert _ids(assortment, categories=["milk"], brands=["燕麦"])[0] == {"燕麦"}
    assert _ids(assortment, items=["oat", 12])[1] == ["item '12'"]
    assert "box" not in _ids(assortment, price_min=0)[0], "it has no price"


BOOST = "rules:\n  - name: a\n    when: {kind: any_query}\n    actions:\n      - {kind: boost, brands: [x]%s}\n"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (BOOST % ", factor: 1", "f.yaml, line 5, rule 'a': rules[0].actions[0].factor is 1"),
        (BOOST % ", colour: red", "line 5, rule 'a': rules[0].actions[0].colour is not an option"),
        (BOOST.replace("boost", "boots") % "", "line 5, rule 'a': rules[0].actions[0]: kind is 'boots'"),
        (BOOST.replace(", brands: [x]", "") % "", "line 5, rule 'a': rules[0].actions[0]: no items are selected"),
        (BOOST.replace("brands: [x]", "price_min: 3, price_max: 2") % "", "price_min is above price_max"),
        (BOOST.replace("any_query", "every_query") % "", "line 3, rule 'a': rules[0].when: kind is 'every_query'"),
        (BOOST.replace("name: a\n", "name: a\n    form: 2026-01-01\n") % "", "rules[0].form is not an option"),
        (BOOST.replace("name: a\n", "name: a\n    from: 2026-02-30\n") % "", "rules[0].from: '2026-02-30' is no date"),
        (BOOST.replace("name: a\n", "name: a\n    from: 2026-02-02\n    until: 2026-02-01\n") % "", "is no time"),
        (BOOST % "" + BOOST.replace("rules:\n", "") % "", "2 rules are called 'a'"),
        ("rules: [{name: a, name: b}]", "'name' is given twice"),
        ("rules: [{name: a, when: {kind: always}, actions: [{kind: redirect, to: /x}]}]", "a redirect at every"),
        ("rules: [{name: a, when: {kind: any_query}, actions: [{kind: redirect, to: 'javascript:x'}]}]", "no address"),
        ("rules: [{name: a, when: {kind: any_query}, actions: [{kind: redirect, to: //x.com}]}]", "no address"),
        ("rules: [{name: a, when: {kind: any_query}, actions: [{kind: pin, items: [], position: 1}]}]", "items is []"),
        ("fences: {price_ratio: 1}", "fences.price_ratio is 1"),
        ("", "f.yaml has no rules"), ("[1]", "f.yaml has no rules"), ("rulez: []", "f.yaml has no rules"),
        ("{", "f.yaml is neither YAML nor JSON"), ("[" * 2_000, "f.yaml is neither YAML nor JSON"),
    ],
)  # fmt: skip
def test_what_is_no_rule_is_refused_with_line_and_fix(text, message):
    with pytest.raises(InputError) as refusal:
        parse_rules(text, "f.yaml")
    assert message in refusal.value.headline and refusal.value.fix


def test_ids_and_dates_are_taken_as_they_are_written():
    found = parse_rules(
        "rules: [{name: a, when: {kind: always}, from: 2026-06-01, actions: [{kind: pin, items: [0012, 12, 1.0, x]}]}]",
        "f",
    )
    assert found.rules[0].actions[0].items == ("0012", "12", "1", "x") and found.rules[0].valid_from == "2026-06-01"


def test_files_that_cannot_be_read(tmp_path):
    with pytest.raises(InputError, match="cannot be read"):
        read_rules(tmp_path / "no.yaml")
    (tmp_path / "f.yaml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(InputError, match="not UTF-8"):
        read_rules(tmp_path / "f.yaml")


def test_thousands_of_rules_take_no_time_of_a_request(assortment):
    rules = [
        {"name": f"rule {n}", "when": {"kind": "query", "match": "words", "texts": [f"word{n} other"]},
         "actions": [{"kind": "pin", "items": ["oat"]}]}
        for n in range(5_000)
    ]  # fmt: skip
    book = Rulebook(Merchandising.read({"rules": rules}, ""), assortment, Analyzer())
    allowed = np.ones(len(assortment.catalog), bool)
    started = time.perf_counter()
    for _ in range(100):
        book.effects(Asked(None, ["SNACKS"], 0.0), allowed)
    assert (time.perf_counter() - started) / 100 < 0.005
