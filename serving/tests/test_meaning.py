"""The engine on the handmade bundle with a text encoder: queries whose words no item has."""

import shutil
import time

import pytest

from components.shared.recommender.recommender import Recommender
from components.shared.search.config import SearchOptions
from components.shared.search.documents import read_documents
from components.shared.search.searching import CatalogSearch
from serving.clock import choose_clock
from serving.engine import Engine
from serving.protocol import parse_instance
from serving.tests.handmade import AS_OF, write_compiled


@pytest.fixture(scope="module")
def ask(tmp_path_factory, minilm):
    folder = write_compiled(tmp_path_factory.mktemp("meaning") / "compiled")
    shutil.rmtree(folder / "search")
    (folder / "search").mkdir()
    options = SearchOptions(encoder=str(minilm), least_meaning=0.2)
    CatalogSearch.build(lambda: read_documents(folder / "items.parquet"), folder / "search", options)
    recommender = Recommender.open(folder)
    engine = Engine(recommender, "1", choose_clock("bundle", AS_OF, time.time()).clock)
    return lambda **request: engine.answer([parse_instance(request)], ["test"])[0]


def ids(answer):
    return [item.item_id for item in answer.items]


def test_items_are_found_by_meaning_and_say_so(ask):
    answer = ask(query="raspberries", user_id="ann")
    assert ids(answer)[0] == "berries" and answer.search["by"] == "meaning"
    assert "has the meaning of 'raspberries'" in answer.items[0].reasons
    assert answer.total == len(answer.items) and answer.search["unknown"] == ["raspberries"]
    assert any("ranked by what the words mean" in warning for warning in answer.warnings)


def test_what_nothing_means_has_an_empty_answer(ask):
    for query in ("xqzzt", "wedding ring", "婚戒"):
        answer = ask(query=query, user_id="ann")
        assert (answer.items, answer.search["by"]) == ([], "nothing"), query


def test_words_come_first_and_chinese_is_searched_by_words(ask):
    assert ids(ask(query="oat milk", user_id="ann"))[0] == "oat" and "by" not in ask(query="oat milk").search
    assert ids(ask(query="燕麦奶"))[0] == "燕麦"


def test_filters_and_pages_apply_to_what_is_found_by_meaning(ask):
    assert ids(ask(query="raspberries", exclude=["berries"]))[:1] != ["berries"]
    assert "berries" not in ids(ask(query="raspberries", filters={"categories": ["MILK"]}))
    page = ask(query="raspberries", k=1, sort="price")
    assert page.total >= 1 and len(page.items) == 1
