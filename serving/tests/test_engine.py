"""The engine on a handmade bundle with predictable answers: shoppers, filters, reasons, explanations."""

import shutil
import time

import numpy as np
import pytest

from components.shared.errors import BundleError
from components.shared.features.spec import DAY
from components.shared.release.bundle import verify
from serving.clock import choose_clock
from serving.engine import Engine
from serving.protocol import parse_instance
from serving.tests.asking import ask as _ask
from serving.tests.asking import ids as _ids
from serving.tests.handmade import AS_OF


def test_known_shopper_gets_usual_items_with_reasons(engine):
    answer = _ask(engine, user_id="ann", k=3)
    assert _ids(answer)[:2] == ["oat", "yogurt"]
    assert answer.items[0].reasons == [
        "bought 6 times, last 9 days ago", "about time to buy it again", "you often buy from MILK"
    ]  # fmt: skip
    assert answer.items[1].reasons[0] == "bought once, 30 days ago"
    assert "popular this week: 312 purchases" in next(i for i in answer.items if i.item_id == "whole").reasons
    assert (answer.note, answer.warnings) == ("", [])
    assert answer.items[0].price == 2.49 and answer.model_version.startswith("20231114-")


def test_reasons_name_other_events_than_purchases(engine):
    answer = _ask(engine, user_id="ann", k=40)
    assert next(i for i in answer.items if i.item_id == "berries").reasons[0] == "viewed 2 days ago"


def test_search_returns_matching_items(engine):
    answer = _ask(engine, user_id="ann", query="oat milk")
    assert _ids(answer)[0] == "oat" and answer.items[0].reasons[0] == "matches 'oat milk'"
    assert answer.items[1].reasons[0] == "matches 'milk'"
    assert _ids(_ask(engine, query="燕麦奶"))[0] == "燕麦"
    assert _ids(_ask(engine, query="Blueberry")) == ["berries"]


@pytest.mark.parametrize("query", ["", "   ", "🥛🥛", "!?"])
def test_query_without_words_is_ignored(engine, query):
    plain, answer = _ask(engine, user_id="ann"), _ask(engine, user_id="ann", query=query)
    assert _ids(plain) == _ids(answer)
    assert bool(answer.warnings) == bool(query.strip())


def test_query_of_unknown_words_has_an_empty_answer_that_says_so(engine):
    answer = _ask(engine, query="zzzz", k=3)
    assert answer.items == [] and answer.warnings == ["query: no item has 'zzzz'"]
    assert answer.search == {"unknown": ["zzzz"], "by": "nothing"}


def test_query_whose_items_are_filtered_out_is_answered_by_meaning(engine):
    answer = _ask(engine, query="oat milk", k=3, filters={"brands": ["Crunch"]})
    assert len(answer.items) == 3 and answer.search["by"] == "meaning"
    assert answer.warnings == ["query: no item that passes the filters has a word of it; ranked by what the words mean"]
    assert "close in meaning to 'oat milk'" in [reason for item in answer.items for reason in item.reasons]


def test_misspelt_query_is_corrected_and_says_so(engine):
    answer = _ask(engine, query="bluebery", k=3)
    assert _ids(answer) == ["berries"] and answer.search["corrected"] == {"bluebery": "blueberries"}
    verbatim = _ask(engine, query="bluebery", k=3, verbatim=True)
    assert verbatim.items == [] and verbatim.search["unknown"] == ["bluebery"]


def test_price_and_exclusion_in_a_query_limit_its_items(engine):
    answer = _ask(engine, query="milk under $2")
    assert _ids(answer) == ["whole"] and answer.search["price_max"] == 2
    assert "oat" not in _ids(_ask(engine, query="milk -oat"))
    cheap = _ask(engine, query="under $2", k=40)
    assert _ids(cheap) and all(item.price <= 2 for item in cheap.items) and cheap.search["price_max"] == 2


@pytest.mark.parametrize("user", [None, "unknown", "silent", "🦄"])
def test_new_shoppers_get_popular_items_and_a_note(engine, user):
    answer = _ask(engine, user_id=user, k=5)
    assert _ids(answer)[0] == "whole" and len(answer.items) == 5
    assert "answered as for a new shopper" in answer.note
    assert all(item.reasons for item in answer.items)


def test_unavailable_items_are_excluded_by_default(engine):
    assert "gone" not in _ids(_ask(engine, user_id="ann", k=40))
    assert "gone" in _ids(_ask(engine, user_id="ann", k=40, filters={"available": False}))
    assert "" not in _ids(_ask(engine, k=500, filters={"available": False}))


def test_filters_by_category_brand_and_price(engine):
    def ids(**filters):
        return set(_ids(_ask(engine, k=40, filters=filters)))

    assert ids(categories=["milk"]) == {"oat", "whole", "燕麦"}
    assert ids(categories=["MILK", "BERRIES"]) == {"oat", "whole", "燕麦", "berries"}
    assert ids(brands=["farmco"]) == {"whole", "yogurt"}
    assert ids(price_min=2.0, price_max=2.5) == {"oat", "燕麦", "snack1"}
    assert "box" not in ids(price_min=0.0)
    assert ids(categories=["MILK"], brands=["Oatly"]) == {"oat"}
    assert _ids(_ask(engine, query="milk", filters={"brands": ["Oatly"]})) == ["oat"]


def test_filters_without_matches_return_no_items_and_a_warning(engine):
    answer = _ask(engine, user_id="ann", query="milk", filters={"categories": ["NO SUCH"]})
    assert answer.items == []
    assert answer.warnings == ["filters.categories: no item matches 'NO SUCH'", "filters: no item matches"]
    assert engine.explain([parse_instance({"filters": {"price_min": 999}})], ["x"])[0]["items"] == []


def test_excluded_items_are_left_out_and_unknown_ones_counted(engine):
    answer = _ask(engine, user_id="ann", k=40, exclude=["oat", "nothing"])
    assert "oat" not in _ids(answer) and answer.warnings == ["exclude: 1 unknown items ignored"]


def test_an_inline_history_replaces_the_stored_one(engine):
    events = [{"item_id": "snack7", "event_type": "purchase", "timestamp": AS_OF - days * DAY} for days in (3, 9, 20)]
    events.append({"item_id": "nothing", "event_type": "view", "timestamp": AS_OF - DAY})
    answer = _ask(engine, user_id="ann", history=events)
    assert _ids(answer)[0] == "snack7" and answer.items[0].reasons[0] == "bought 3 times, last 3 days ago"
    assert answer.warnings == ["history: 1 events of unknown items ignored, first 'nothing'"]
    assert "as for a new shopper" in _ask(engine, user_id="ann", history=[]).note


def test_request_time_is_the_end_of_the_data_or_after_the_last_inline_event(engine):
    later = [{"item_id": "oat", "event_type": "purchase", "timestamp": AS_OF + 5 * DAY}]
    answer = _ask(engine, history=later)
    assert answer.items[0].reasons[0] == "bought once, today" and not answer.warnings
    earlier = _ask(engine, history=later, context={"timestamp": AS_OF})
    assert earlier.warnings == [f"history: 1 events at or after the time of the request ({AS_OF}) ignored"]
    past = _ask(engine, user_id="ann", context={"timestamp": AS_OF - 30 * DAY})
    assert past.items[0].reasons[0] == "bought 4 times, last 7 days ago"


def test_system_clock_uses_the_current_time(signed):
    bundle, _ = signed
    engine = Engine.open(bundle, verify(bundle, None), 1, "system")
    days = int((time.time() - (AS_OF - 9 * DAY)) // DAY)
    reasons = {item.item_id: item.reasons[0] for item in _ask(engine, user_id="ann", k=40).items}
    assert reasons["oat"] == f"bought 6 times, last {days} days ago"


def test_auto_clock_of_old_data_is_the_end_of_the_data(signed, caplog):
    bundle, _ = signed
    with caplog.at_level("INFO", "kserve.shoprank"):
        engine = Engine.open(bundle, verify(bundle, None), 1, "auto")
    assert "clock: bundle, because the bundle's data ended on 2023-11-14T22:13:20Z" in caplog.text
    answer = _ask(engine, user_id="ann", k=1)
    assert answer.items[0].reasons[0] == "bought 6 times, last 9 days ago" and answer.as_of == "2023-11-14T22:13:20Z"


@pytest.mark.parametrize(
    ("option", "days", "clock", "reason"),
    [
        ("auto", -1.0, "system", "the bundle's data is recent"),
        ("auto", 30.0, "system", "30 days ago"),
        ("auto", 30.1, "bundle", "30 days ago, which is more than 30"),
        ("auto", 3255.0, "bundle", "3,255 days ago"),
        ("system", 3255.0, "system", "--clock is 'system'"),
        ("bundle", 0.0, "bundle", "--clock is 'bundle'"),
    ],
)
def test_clock_follows_from_the_option_and_the_age_of_the_data(option, days, clock, reason):
    chosen = choose_clock(option, AS_OF, AS_OF + days * DAY)
    assert chosen.clock == clock and reason in chosen.reason


def test_explanation_contains_sources_features_and_contributions(engine):
    answer = engine.explain([parse_instance({"user_id": "ann", "k": 2, "query": "milk"})], ["x"])[0]
    first = answer["items"][0]
    assert first["sources"] == ["lexical"] and first["lexical_score"] > 0
    assert set(first["probabilities"]) == {"purchase_again", "purchase_first"}
    assert first["features"]["bought_before"] == 1.0 and np.isclose(first["features"]["times"], np.log(7), atol=1e-5)
    contributions = first["contributions"]
    # The handmade ranker ignores the price and depends mostly on the shopper's own history.
    assert contributions["price"] == 0 and max(contributions, key=contributions.get) == "own history with the item"


def test_answers_do_not_depend_on_concurrent_requests(engine):
    from concurrent.futures import ThreadPoolExecutor

    requests = [{"user_id": user, "query": query, "k": 20} for user in ("ann", "bob", None) for query in ("milk", None)]
    alone = [_ask(engine, **request) for request in requests]
    with ThreadPoolExecutor(4) as pool:
        together = list(pool.map(lambda request: _ask(engine, **request), requests * 10))
    assert together == alone * 10


def test_bundle_with_other_golden_answers_is_refused(signed, tmp_path):
    bundle, _ = signed
    manifest = verify(bundle, None)
    shutil.copytree(bundle, tmp_path / "bundle")
    text = (tmp_path / "bundle" / "golden.json").read_text()
    (tmp_path / "bundle" / "golden.json").write_text(text.replace('"oat"', '"bread"', 1))
    with pytest.raises(BundleError, match=r"golden request 1 of .* has changed: item 'oat' at position 1"):
        Engine.open(tmp_path / "bundle", manifest, 1, "bundle")


def test_items_that_go_with_a_shoppers_purchases_have_a_reason(engine):
    items = {item.item_id: item.reasons for item in _ask(engine, user_id="ann", k=40).items}
    assert "new to you; goes with Oat milk 1L" in items["snack0"]
    explained = engine.explain([parse_instance({"user_id": "ann", "k": 40})], ["test"])[0]["items"]
    snack = next(item for item in explained if item["item_id"] == "snack0")
    assert snack["features"]["similar"] > 0 and "goes with what the shopper has" in snack["contributions"]
