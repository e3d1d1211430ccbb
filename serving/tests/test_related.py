"""Diversity, similar items, items bought with others, and searches for items like another, in the engine."""

import dataclasses

import numpy as np
import pytest
from scipy import sparse

from components.shared.recommender.diversity import Likeness, diversified
from components.shared.recommender.neighbours import Neighbours
from components.shared.recommender.recommender import Recommender
from components.shared.release.bundle import verify
from serving.engine import Engine
from serving.exploring import ExplorationConfig
from serving.protocol import RequestError, parse_instance, parse_v2
from serving.tests.asking import ask as _ask
from serving.tests.asking import ids as _ids
from serving.tests.handmade import AS_OF


@pytest.mark.parametrize(("seed", "first"), [("oat", {"whole"}), ("燕麦", {"oat", "whole"}), ("snack3", None)])
def test_similar_items_share_words_category_and_vector(engine, seed, first):
    answer = _ask(engine, similar_to=seed, k=8)
    assert len(answer.items) == 8 and seed not in _ids(answer)
    assert _ids(answer)[0] in first if first else _ids(answer)[0].startswith("snack")
    assert answer.items[0].reasons[0] == f"similar to {engine_title(engine, seed)}"
    scores = [item.score for item in answer.items]
    assert scores == sorted(scores, reverse=True) and 0 < scores[0] <= 1


def engine_title(engine, item):
    return _ask(engine, query=item, k=1, filters={"available": False}).items[0].title


def test_relations_are_the_same_for_every_shopper_and_pass_filters(engine):
    assert _ids(_ask(engine, similar_to="oat", user_id="ann")) == _ids(_ask(engine, similar_to="oat"))
    assert _ask(engine, similar_to="oat").note == ""
    assert set(_ids(_ask(engine, similar_to="oat", filters={"categories": ["MILK"]}))) == {"whole", "燕麦"}
    assert "whole" not in _ids(_ask(engine, similar_to="oat", exclude=["whole"], k=40))
    assert "gone" not in _ids(_ask(engine, similar_to="yogurt", k=40))
    assert _ask(engine, similar_to="gone", k=3).items, "of an item that is sold out"


def test_bought_with_is_what_the_same_shoppers_bought(engine):
    answer = _ask(engine, bought_with=["oat"])
    assert _ids(answer) == ["snack0"] and answer.items[0].score == pytest.approx(0.5)
    assert answer.items[0].reasons[0] == "also bought by those who bought Oat milk 1L"
    assert _ids(_ask(engine, bought_with=["oat", "snack0"])) == [], "both are in the basket"
    nobody = _ask(engine, bought_with=["yogurt"])
    assert nobody.items == [] and nobody.warnings == [
        "bought_with: no item that may be answered has enough buyers in common with it"
    ]


def test_several_items_of_a_basket_add_up(signed):
    bundle, _ = signed
    recommender = Recommender.open(bundle)
    row, size = recommender.catalog.row_of, len(recommender.catalog)
    pairs = [("oat", "whole", 0.4), ("yogurt", "whole", 0.4), ("oat", "berries", 0.6), ("yogurt", "oat", 0.9)]
    near = sparse.csr_matrix(
        ([v for *_, v in pairs], ([row[a] for a, *_ in pairs], [row[b] for _, b, _ in pairs])), (size, size), np.float32
    )
    engine = Engine(dataclasses.replace(recommender, neighbours=Neighbours(near)), "test", "bundle")
    answer = _ask(engine, bought_with=["oat", "yogurt", "oat", "no such"])
    assert [(item.item_id, round(item.score, 3)) for item in answer.items] == [("whole", 0.4), ("berries", 0.3)]
    assert answer.warnings == ["bought_with: 1 unknown item ignored: 'no such'"]


@pytest.mark.parametrize("field", ["similar_to", "bought_with", "more_like"])
def test_unknown_items_have_an_empty_answer_that_says_so(engine, field):
    answer = _ask(engine, **{field: ["没有"] if field == "bought_with" else "没有"})
    assert answer.items == [] and answer.warnings == [f"{field}: 1 unknown item ignored: '没有'"]


def test_more_like_orders_what_a_query_finds_and_what_a_shopper_may_want(engine):
    plain, like = (
        _ask(engine, query="milk", user_id="ann"),
        _ask(engine, query="milk", user_id="ann", more_like="whole"),
    )
    assert set(_ids(like)) == set(_ids(plain)) - {"whole"}
    snacks = _ids(_ask(engine, query="snack number", k=40))
    nearest = _ids(_ask(engine, similar_to="snack5", k=40, filters={"categories": ["SNACKS"]}))
    found = _ids(_ask(engine, query="snack number", more_like="snack5", k=40))
    assert set(found) == set(snacks) - {"snack5"}
    assert nearest.index(found[0]) < 5 and found != [item for item in snacks if item != "snack5"]
    assert _ids(_ask(engine, query="snack number", more_like="没有")) == snacks[:10]
    ann, nobody = _ask(engine, more_like="whole", user_id="ann"), _ask(engine, more_like="whole")
    assert _ids(ann)[0] == "oat" and "similar to Whole milk 1L" in ann.items[0].reasons
    assert "answered as for a new shopper" in nobody.note and "whole" not in _ids(ann)


@pytest.mark.parametrize(
    ("request_", "field"),
    [
        ({"similar_to": "oat", "query": "milk"}, "similar_to"),
        ({"bought_with": ["oat"], "query": "milk"}, "bought_with"),
        ({"similar_to": "oat", "more_like": "oat"}, "more_like"), ({"bought_with": "oat"}, "bought_with"),
        ({"similar_to": ["oat"]}, "similar_to"), ({"bought_with": ["a"] * 101}, "bought_with"),
        ({"diversity": -0.1}, "diversity"), ({"diversity": 1.1}, "diversity"), ({"diversity": "0.5"}, "diversity"),
        ({"diversity": float("nan")}, "diversity"), ({"diversity": True}, "diversity"),
    ],
)  # fmt: skip
def test_relations_and_diversity_that_are_refused(request_, field):
    with pytest.raises(RequestError) as refusal:
        parse_instance(request_)
    assert refusal.value.field == field and refusal.value.fix


def test_ids_of_relations_have_the_form_of_ingested_ones():
    assert parse_instance({"similar_to": 10.0}).similar_to == "10"
    (one,) = parse_v2({"bought_with": [b'[10, "a"]'], "diversity": [0.25], "similar_to": [b""]})
    assert (one.bought_with, one.diversity, one.similar_to) == (["10", "a"], 0.25, None)


def test_diversity_varies_the_items_and_stays_within_what_fits_equally_well(engine, signed):
    recommender = Recommender.open(signed[0])

    def alike(diversity):
        rows = np.array([recommender.catalog.row_of[item] for item in _ids(_ask(engine, k=10, diversity=diversity))])
        return Likeness.of(rows, recommender.catalog, recommender.index).matrix().mean()

    assert _ids(_ask(engine, k=10, diversity=0.0)) == _ids(_ask(engine, k=10))
    assert alike(0.0) > alike(0.3) > alike(1.0)
    plain, varied = _ask(engine, query="oat milk"), _ask(engine, query="oat milk", diversity=1.0)
    assert _ids(varied)[0] == "oat" and set(_ids(varied)) == set(_ids(plain))
    same, other = _ids(_ask(engine, query="snack", k=40)), _ids(_ask(engine, query="snack", k=40, diversity=0.8))
    assert same[0] == other[0] and same != other and set(same) == set(other)


def test_answers_that_explore_do_so_after_diversity_but_not_among_related_items(signed):
    bundle, _ = signed
    engine = Engine.open(bundle, verify(bundle, None), 1, "bundle", ExplorationConfig(share=0.9, pool=5))
    assert len(_ask(engine, k=5, diversity=0.5).propensities) == 5
    assert _ask(engine, k=5, similar_to="oat").propensities == ()
    assert _ask(engine, k=5, more_like="oat", user_id="ann").propensities == ()


def test_mmr_takes_unlike_items_first_but_no_item_of_a_lower_class():
    vectors = np.array([[1, 0], [1, 0], [0, 1], [0, 1], [1, 1]], np.float32)
    none = np.zeros(5, np.int64)
    likeness = Likeness(vectors, none, none)
    score = np.array([1.0, 0.9, 0.8, 0.7, 0.6], np.float32)
    flat, classes = np.zeros(5, np.int8), np.array([1, 1, 0, 0, 0], np.int8)
    assert diversified(score, flat, likeness, 0.0, 5).tolist() == [0, 1, 2, 3, 4]
    assert diversified(score, flat, likeness, 0.7, 5).tolist()[:2] == [0, 2]
    assert diversified(score, classes, likeness, 0.9, 5).tolist()[:2] == [0, 1]
    assert diversified(score, flat, likeness, 0.7, 2).tolist() == [0, 2, 1, 3, 4], "the rest as they were"
    brands = Likeness(np.zeros((5, 2), np.float32), none, np.array([7, 7, 7, 8, 0]))
    assert diversified(score, flat, brands, 0.9, 2).tolist()[:2] == [0, 3]
    assert diversified(score[:0], flat[:0], Likeness(vectors[:0], none[:0], none[:0]), 0.5, 5).tolist() == []


def test_relation_and_history_time_do_not_disturb_each_other(engine):
    events = [{"item_id": "whole", "event_type": "purchase", "timestamp": AS_OF}]
    assert _ids(_ask(engine, similar_to="oat", history=events)) == _ids(_ask(engine, similar_to="oat"))
