"""Rules of a merchandiser in the answers of the engine, and a file of them that changes while it is served."""

import os

import pytest

from components.shared.errors import InputError
from components.shared.release.bundle import verify
from serving.engine import Engine
from serving.protocol import parse_instance
from serving.tests.asking import ids as _ids
from serving.tests.handmade import AS_OF


@pytest.fixture
def ask(signed, tmp_path):
    """A function that puts rules in force and answers a request."""
    bundle, _ = signed
    engine, opened = Engine.open(bundle, verify(bundle, None), 1, "bundle"), []

    def answer(text, **request):
        path = tmp_path / "rules.yaml"
        path.write_text(text, encoding="utf-8")
        if not opened:
            opened.append(engine.follow_rules(path, bundle))
        opened[0].refresh()
        return engine.answer([parse_instance(request)], ["test"])[0]

    yield answer
    for file in opened:
        file.close()


def _rule(when: str, *actions: str, dates: str = "") -> str:
    return f"rules:\n  - name: ours\n    when: {when}\n{dates}    actions:\n" + "".join(
        f"      - {a}\n" for a in actions
    )


PLAIN = "fences: {}"
SEARCH = "{kind: query, texts: [milks, 燕麦奶]}"


def test_pins_are_above_all_at_their_positions(ask):
    plain = ask(PLAIN, user_id="ann", query="milk")
    rule = _rule(SEARCH, "{kind: pin, items: [berries, whole], position: 1}", "{kind: pin, items: [box], position: 9}")
    found = ask(rule, user_id="ann", query="Milk")
    rest = [item for item in _ids(plain) if item != "whole"]
    assert _ids(found) == ["berries", "whole", *rest, "box"] and found.rules == ("ours",) and plain.rules == ()
    assert "viewed 2 days ago" in found.items[0].reasons
    assert "chosen by the shop" in ask(rule, query="Milk").items[-1].reasons
    assert _ids(ask(rule, query="燕麦奶"))[:2] == ["berries", "whole"], "the same in Chinese"
    assert "berries" not in _ids(ask(rule, query="milky way")), "another query"
    assert len(ask(rule, user_id="ann", query="milk", k=2).items) == 2


def test_pinned_items_pass_the_filters_of_the_request_and_what_the_query_says(ask):
    rule = _rule("{kind: query, match: words, texts: [milk]}", "{kind: pin, items: [gone, oat, yogurt]}")
    assert _ids(ask(rule, query="milk"))[:2] == ["oat", "yogurt"], "what is not available is not shown"
    assert _ids(ask(rule, query="milk", filters={"brands": ["FarmCo"]}))[0] == "yogurt"
    assert _ids(ask(rule, query="milk", exclude=["oat"]))[0] == "yogurt"
    assert "yogurt" not in _ids(ask(rule, query="milk under $3"))
    assert "oat" not in _ids(ask(rule, query="milk -oat"))


def test_boosts_and_burials_stay_within_what_fits_equally_well(ask):
    when = "{kind: any_query}"
    plain = _ids(ask(PLAIN, query="oat milk"))
    assert plain[0] == "oat"
    boosted = ask(_rule(when, "{kind: boost, items: [whole], factor: 1000}"), query="oat milk")
    assert _ids(boosted)[0] == "oat", "whole milk is no oat milk"
    scores = [item.score for item in boosted.items]
    assert scores == sorted(scores, reverse=True)
    both = _ids(ask(PLAIN, query="milk"))
    first, last = both[0], both[-1]
    assert _ids(ask(_rule(when, f"{{kind: boost, items: [{last}], factor: 100}}"), query="milk"))[0] == last
    buried = ask(_rule(when, f"{{kind: bury, items: [{first}], factor: 0}}"), query="milk")
    assert _ids(buried)[-1] == first and buried.rules == ("ours",)
    assert ask(_rule(when, "{kind: boost, brands: [Crunch]}"), query="milk").rules == (), "no item of it is found"


def test_recommendations_are_boosted_by_brand_category_and_price(ask):
    when = "{kind: recommendation}"
    for selector in ("brands: [crunch]", "categories: [Snacks]", "price_min: 6, price_max: 30, brands: [Crunch]"):
        found = ask(_rule(when, f"{{kind: boost, {selector}, factor: 1000}}"), user_id="ann", k=3)
        assert all(item.startswith("snack") for item in _ids(found)) and found.rules == ("ours",), selector
    assert all(6 <= item.price <= 30 for item in found.items)
    assert "snack0" not in _ids(ask(_rule(when, "{kind: boost, brands: [Crunch]}"), query="milk"))


def test_hidden_and_filtered_items(ask):
    assert "oat" not in _ids(ask(_rule("{kind: always}", "{kind: hide, brands: [OATLY]}"), user_id="ann", k=40))
    only = ask(_rule(SEARCH, "{kind: filter, categories: [milk], price_max: 2.4}"), query="milk")
    assert set(_ids(only)) == {"whole", "燕麦"} and only.rules == ("ours",)
    none = ask(_rule(SEARCH, "{kind: filter, brands: [nobody]}"), query="milk")
    assert none.items == [] and none.rules == ("ours",)


def test_pins_of_a_query_that_finds_nothing_are_no_answer_by_meaning(ask):
    found = ask(_rule("{kind: query, texts: [zzzz]}", "{kind: pin, items: [box]}"), query="zzzz")
    assert _ids(found) == ["box"] and found.items[0].reasons == ["chosen by the shop"]
    assert found.search["by"] == "nothing" and found.warnings == ["query: no item has 'zzzz'"]


def test_redirect_is_told_with_the_items_even_if_there_are_none(ask):
    rule = _rule("{kind: query, texts: [returns, 退货]}", "{kind: redirect, to: /help/returns}")
    for query in ("Return", "退货", "退货 "):
        found = ask(rule, query=query)
        assert (found.redirect, found.rules) == ("/help/returns", ("ours",)), query
    assert ask(rule, query="milk").redirect == ""
    assert "redirect" not in ask(rule, query="milk").model_dump()


@pytest.mark.parametrize(
    ("when", "acts", "not_"),
    [
        ("{kind: query, texts: [Oat Milks]}", ["oat milk", "OAT  milk"], ["milk oat", "organic oat milk", "milk"]),
        ("{kind: query, texts: [milk]}", ["mlik", "milk under $3", "Milk"], ["oat milk"]),
        ("{kind: query, match: contains, texts: [oat milk]}", ["organic oat milk 1l", "oat milk"], ["milk oat"]),
        ("{kind: query, match: words, texts: [milk oat]}", ["oat whole milk"], ["oat", "milk"]),
        ("{kind: query, match: contains, texts: [牛奶]}", ["蒙牛牛奶", "牛奶 1L"], ["燕麦"]),
        ("{kind: category, names: [Snacks]}", ["snacks", "snack number"], ["milk"]),
        ("{kind: any_query}", ["milk", "zzz"], [None]),
        ("{kind: recommendation}", [None], ["milk"]),
        ("{kind: always}", [None, "milk"], []),
    ],
)
def test_conditions(ask, when, acts, not_):
    rule = _rule(when, "{kind: hide, items: [whole, snack1]}")
    for query in acts:
        assert ask(rule, query=query).rules == ("ours",), query
    for query in not_:
        assert ask(rule, query=query).rules == (), query


def test_category_of_the_filter_is_a_condition(ask):
    rule = _rule("{kind: category, names: [dairy]}", "{kind: pin, items: [yogurt]}")
    assert _ids(ask(rule, filters={"categories": ["Dairy"]}))[0] == "yogurt"
    assert ask(rule, filters={"categories": ["SNACKS"]}).rules == ()


@pytest.mark.parametrize(
    ("dates", "days"),
    [("    from: 2023-11-14\n", [0, 1]), ("    until: 2023-11-14\n", [-1, 0]), ("    from: 2023-11-15\n", [1]),
     ("    until: 2023-11-14T12:00:00+08:00\n", [-1]), ("    from: 2023-11-14\n    until: 2023-11-14\n", [0])],
)  # fmt: skip
def test_rules_apply_on_their_days(ask, dates, days):
    rule = _rule("{kind: always}", "{kind: pin, items: [box]}", dates=dates)
    for day in (-1, 0, 1):
        found = ask(rule, context={"timestamp": AS_OF + 86_400 * day})
        assert bool(found.rules) == (day in days), day


def test_fences_hold_whatever_is_asked(ask):
    fence = "fences: {unavailable: false, without_price: false, price_min: 2, price_max: 5}"
    found = ask(fence, user_id="ann", k=40, filters={"available": False})
    assert _ids(found) and all(2 <= item.price <= 5 for item in found.items) and "gone" not in _ids(found)
    assert "gone" in _ids(ask(PLAIN, user_id="ann", k=40, filters={"available": False}))
    free = ask("fences: {price_min: 2}", k=40)
    assert "box" in _ids(free) and "whole" not in _ids(free)


def test_items_with_an_unusual_price_come_last_of_those_that_fit_equally_well(ask):
    plain, fenced = ask(PLAIN, query="snack", k=40), ask("fences: {price_ratio: 2}", query="snack", k=40)
    usual = sorted(item.price for item in plain.items[:20])
    median = (usual[9] + usual[10]) / 2
    far = [not median / 2 <= item.price <= 2 * median for item in fenced.items]
    assert any(far) and far == sorted(far) and set(_ids(fenced)) == set(_ids(plain))
    assert _ids(ask("fences: {price_ratio: 2}", query="cheap snack", k=40)) == _ids(
        ask(PLAIN, query="cheap snack", k=40)
    )


def test_broken_file_leaves_the_rules_before_it_in_force(ask, caplog):
    pin = _rule("{kind: always}", "{kind: pin, items: [box]}")
    assert _ids(ask(pin))[0] == "box"
    with caplog.at_level("ERROR", "kserve.shoprank"):
        assert _ids(ask(pin.replace("pin", "pinn", 1)))[0] == "box"
    assert "the rules before it stay in force: rules.yaml, line 5, rule 'ours': rules[0].actions[0]" in caplog.text
    assert _ids(ask(pin.replace("box", "whole")))[0] == "whole"


def test_broken_file_at_the_start_is_no_end_of_the_search_but_a_missing_one_is(ask, signed, tmp_path):
    assert _ids(ask("rules: [", query="milk")) == _ids(ask(PLAIN, query="milk"))
    engine = Engine.open(signed[0], verify(signed[0], None), 1, "bundle")
    with pytest.raises(InputError, match="is no file"):
        engine.follow_rules(tmp_path / "typo.yaml", signed[0])


def test_mounted_config_map_is_followed(signed, tmp_path):
    """Kubernetes swaps a link to a folder, whose files have any time and may have the same size."""
    for name, item in (("one", "box"), ("two", "oat")):
        (tmp_path / name).mkdir()
        (tmp_path / name / "rules.yaml").write_text(_rule("{kind: always}", f"{{kind: pin, items: [{item}]}}"))
        os.utime(tmp_path / name / "rules.yaml", (AS_OF, AS_OF))
    (tmp_path / "..data").symlink_to("one")
    (tmp_path / "rules.yaml").symlink_to("..data/rules.yaml")
    engine = Engine.open(signed[0], verify(signed[0], None), 1, "bundle")
    file, seen = engine.follow_rules(tmp_path / "rules.yaml", signed[0]), []
    for target in ("one", "two"):
        (tmp_path / "new").symlink_to(target)
        (tmp_path / "new").replace(tmp_path / "..data")
        file.refresh()
        seen += _ids(engine.answer([parse_instance({"k": 1})], ["test"])[0])
    file.close()
    assert seen == ["box", "oat"]


def test_instances_of_one_request_do_not_disturb_each_other(signed, tmp_path):
    path = tmp_path / "rules.yaml"
    path.write_text(_rule(SEARCH, "{kind: pin, items: [berries], position: 2}", "{kind: hide, items: [oat]}"))
    engine = Engine.open(signed[0], verify(signed[0], None), 1, "bundle")
    file = engine.follow_rules(path, signed[0])
    requests = [
        {"user_id": "ann"}, {"query": "milk"}, {"similar_to": "oat"}, {"query": "milk", "diversity": 0.5},
        {"bought_with": ["oat"]}, {"query": "oat milk"}, {"user_id": "ann", "more_like": "oat", "k": 3},
    ]  # fmt: skip
    instances = [parse_instance(request) for request in requests]
    together = engine.answer(instances, ["test"] * len(requests))
    alone = [engine.answer([one], ["test"])[0] for one in instances]
    file.close()
    assert [_ids(answer) for answer in together] == [_ids(answer) for answer in alone]
    assert [answer.rules for answer in together] == [answer.rules for answer in alone]
    assert [bool(answer.rules) for answer in alone] == [False, True, False, True, False, False, False]


def test_what_the_catalog_lacks_is_logged(ask, caplog):
    with caplog.at_level("WARNING", "kserve.shoprank"):
        ask(
            _rule(
                "{kind: always}",
                "{kind: pin, items: [nothing]}",
                "{kind: hide, brands: [Okea], attributes: {size: [XL]}}",
            )
        )
    assert "rule 'ours': the catalog lacks item 'nothing', brand 'Okea', attribute 'size'" in caplog.text


def test_two_rules_want_the_same_position_the_first_of_the_file_has_it(ask):
    rules = """
rules:
  - {name: first, when: {kind: always}, actions: [{kind: pin, items: [box]}]}
  - {name: second, when: {kind: always}, actions: [{kind: pin, items: [yogurt, box, oat]}]}
"""
    found = ask(rules, user_id="bob")
    assert _ids(found)[:3] == ["box", "yogurt", "oat"] and found.rules == ("first", "second")


def test_explanation_names_pins_as_a_source(signed, tmp_path):
    bundle, _ = signed
    engine = Engine.open(bundle, verify(bundle, None), 1, "bundle")
    path = tmp_path / "rules.json"
    path.write_text(
        '{"rules": [{"name": "a", "when": {"kind": "always"}, "actions": [{"kind": "pin", "items": ["box"]}]}]}'
    )
    file = engine.follow_rules(path, bundle)
    found = engine.explain([parse_instance({"user_id": "ann", "k": 2}), parse_instance({"k": 1})], ["x", "y"])
    file.close()
    assert ("pinned" in found[0]["items"][0]["sources"] and found[0]["rules"] == ["a"]) or found[0]["rules"] == ("a",)
    assert [one["items"][0]["item_id"] for one in found] == ["box", "box"]
