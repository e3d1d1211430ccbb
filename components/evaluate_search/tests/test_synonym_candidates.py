"""Synonyms mined from made logs: what must be found, and what must not."""

import itertools

import pytest

from components.evaluate_search.catalog import items_catalog
from components.evaluate_search.synonym_candidates import mine_synonyms
from components.evaluate_search.synonym_effects import synonym_effects
from components.evaluate_search.systems import catalog_search
from components.evaluate_search.tests.small_shop import write
from components.shared.errors import InputError
from components.shared.search.config import parse_synonyms

ITEMS = [("sofa", "Grey sofa"), ("sofa2", "Blue sofa bed"), ("paper", "Toilet paper"), ("lamp", "Desk lamp"),
         ("bench", "Garden settee bench"), ("lamp2", "Lamp, small")]  # fmt: skip
NAMES = ("user_id", "session_id", "timestamp", "event_type", "query", "item_id")


class Log:
    """Events of a shop, a day for each visit."""

    def __init__(self, folder, search):
        self._folder, self._search, self._rows, self._visits = folder, search, [], itertools.count()
        for number in range(40):
            self.visit(f"other{number}", ("lamp", "lamp"))

    def visit(self, shopper, *searches, pause=1, session="s", take="view"):
        """A visit: queries with the item that is taken, None for nothing, some minutes apart."""
        day, minute = next(self._visits), 0
        for query, item in searches:
            self._add(shopper, session, day, minute, "search", query, None)
            if item:
                self._add(shopper, session, day, minute + 1, take, None, item)
            minute += pause + 1

    def _add(self, shopper, session, day, minute, kind, query, item):
        time = f"2026-{1 + day // 28:02}-{1 + day % 28:02}T{8 + minute // 60:02}:{minute % 60:02}:00Z"
        self._rows.append((shopper, session, time, kind, query, item))

    def mine(self, shoppers=3, known=()):
        # The order of rows in a file is not that of time.
        source = write(self._folder / "events.jsonl", NAMES, self._rows[::-1])
        return mine_synonyms(str(source), {}, self._search, shoppers, known)

    def rules(self, **options):
        return [one.line.partition("  #")[0] for one in self.mine(**options).candidates]


@pytest.fixture(scope="module")
def catalog(tmp_path_factory):
    return items_catalog(str(write(tmp_path_factory.mktemp("shop") / "items.jsonl", ("item_id", "title"), ITEMS)), {})


@pytest.fixture(scope="module")
def search(catalog):
    return catalog_search(catalog)


@pytest.fixture
def log(tmp_path, search):
    return Log(tmp_path, search)


def test_a_failed_query_and_its_reformulation_are_offered_with_what_speaks_for_them(log, catalog, search):
    for number in range(4):
        log.visit(f"u{number}", ("Couch", None), ("sofa", "sofa"))
    log.visit("u0", ("couch", None), ("sofa ", "sofa"))
    found = log.mine()
    (candidate,) = found.candidates
    assert (candidate.source, candidate.target, candidate.both, candidate.shoppers) == ("couch", "sofa", False, 4)
    # 4 of the 4 shoppers that failed with 'couch', over 4 of all 44 that succeeded with 'sofa'.
    assert candidate.lift == pytest.approx((4 / 4) / (4 / 44)) and candidate.cosine is None
    assert candidate.line == "couch => sofa  # 4 shoppers, lift 11.0"
    text = found.text()
    assert "50 searches of 44 shoppers" in text and [rule.line for rule in parse_synonyms(text.splitlines())] == [
        "couch => sofa"
    ]
    (effect,) = synonym_effects(text.splitlines(), catalog, search)
    assert (effect.text, effect.before, effect.after) == ("couch", 0, 2)


def test_queries_that_lead_to_the_same_items_are_offered_both_ways(log):
    for number in range(3):
        log.visit(f"a{number}", ("settee", "sofa"), take="purchase")
        log.visit(f"b{number}", ("grey sofa", "sofa"), take="cart")
    (candidate,) = log.mine().candidates
    assert candidate.line == "grey sofa, settee  # 3 shoppers, cosine 1.00 of the items taken"


def test_items_that_everybody_takes_make_no_queries_alike(log):
    for number in range(6):
        for query in ("sofa", "garden", "toilet", "blue"):
            log.visit(f"{query}{number}", (query, "lamp"))
        for query, item in (("sofa", "sofa"), ("garden", "bench"), ("toilet", "paper"), ("blue", "sofa2")):
            log.visit(f"{query}{number}", (query, item))
    assert log.rules() == []


def test_what_no_item_has_goes_one_way(log):
    for number in range(3):
        log.visit(f"a{number}", ("canape", "sofa"))
        log.visit(f"b{number}", ("sofa", "sofa"))
        log.visit(f"c{number}", ("zzz", "bench"))
        log.visit(f"d{number}", ("yyy", "bench"))
    assert log.rules() == ["canape => sofa"]


@pytest.mark.parametrize(
    ("query", "then", "item"),
    [
        # Misspelt, in another form, without a blank.
        ("tolet paper", "toilet paper", "paper"), ("sofas", "sofa", "sofa"), ("toiletpaper", "toilet paper", "paper"),
        ("gray sofe", "grey sofa", "sofa"),
        # Narrower and wider.
        ("sofa bed", "sofa", "sofa"), ("sofa", "sofa bed", "sofa2"), ("desk lamp black", "lamp desk", "lamp"),
        # Of no item, and not to be written as a rule.
        ("couch", "zeppelin", "sofa"), ("couch, red", "sofa", "sofa"), ("c#", "sofa", "sofa"),
    ],
)  # fmt: skip
def test_what_is_no_synonym_is_left_out(log, query, then, item):
    for number in range(5):
        log.visit(f"u{number}", (query, None), (then, item))
    assert log.rules() == []


def test_one_shopper_is_no_evidence_however_often(log):
    for _ in range(9):
        log.visit("u", ("couch", None), ("sofa", "sofa"))
        log.visit("v", ("settee", "sofa"))
    assert log.rules(shoppers=2) == []
    log.visit("w", ("couch", None), ("sofa", "sofa"))
    assert log.rules(shoppers=2) == ["couch => sofa"] and log.rules(shoppers=3) == []


def test_order_of_time_counts_and_a_query_that_led_somewhere_did_not_fail(log):
    for number in range(4):
        log.visit(f"u{number}", ("sofa", "sofa"), ("couch", None))
        log.visit(f"v{number}", ("couch", "bench"), ("sofa", "sofa"))
    assert log.rules() == []


def test_a_long_pause_another_session_and_another_shopper_part_queries(log):
    for number in range(4):
        log.visit(f"u{number}", ("couch", None), ("sofa", "sofa"), pause=40)
        log.visit(f"v{number}", ("couch", None), ("sofa", "sofa"), pause=15)
        for shopper, session in ((f"w{number}", "one"), (f"w{number}", "two")):
            log.visit(shopper, *[("couch", None)] if session == "one" else [("sofa", "sofa")], session=session)
    assert log.rules() == []


def test_of_several_attempts_each_is_reformulated_as_the_one_that_leads_somewhere(log):
    for number in range(4):
        log.visit(f"x{number}", ("couch", None), ("cuoch", None), ("sofa", "sofa"))
    assert log.rules() == ["couch => sofa", "cuoch => sofa"]


def test_a_purchase_belongs_to_the_query_that_found_the_item(log):
    for number in range(4):
        log.visit(f"u{number}", ("sofa", "sofa"))
        log.visit(f"v{number}", ("sofa", "sofa"), ("couch", None), ("lamp", "sofa"), take="purchase")
    assert log.rules() == []


def test_what_the_rules_have_is_not_offered_again(log):
    for number in range(4):
        log.visit(f"u{number}", ("couch", None), ("sofa", "sofa"))
    assert log.rules(known=["couch, sofa"]) == [] and log.rules(known=["couch => lamp"]) == ["couch => sofa"]


def test_a_log_without_queries_and_a_threshold_of_one_are_refused(log, search, tmp_path):
    with pytest.raises(InputError, match="shoppers is 1"):
        log.mine(shoppers=1)
    views = write(tmp_path / "views.jsonl", NAMES, [("u", "s", "2026-01-01T00:00:00Z", "view", None, "sofa")])
    with pytest.raises(InputError, match="have no searches with a query"):
        mine_synonyms(str(views), {}, search, 2)
