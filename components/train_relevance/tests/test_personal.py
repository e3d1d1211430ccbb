"""Weight of the shopper's ranker: learned from clicks of known shoppers after the data of a bundle."""

import csv
from datetime import UTC, datetime

import numpy as np
import pytest

from components.shared.errors import InputError
from components.shared.recommender.blending import log_odds
from components.shared.recommender.recommender import Recommender, target_probability
from components.train_relevance.config import RelevanceOptions
from components.train_relevance.showings import read_time
from components.train_relevance.train import Searched, train_relevance
from serving.tests.handmade import AS_OF, write_bundle

QUERIES = ("milk", "1l", "dairy", "snack", "snacks", "crunch", "number", "farmco")
OPTIONS = RelevanceOptions(repeats=1, folds=2, l2=(0.003,), signs=("any",), least_showings=100)
COLUMNS = ("query", "item_id", "clicks", "position", "user_id", "timestamp")


@pytest.fixture(scope="module")
def bundle(tmp_path_factory):
    folder = tmp_path_factory.mktemp("handmade")
    return write_bundle(folder / "bundle", folder / "key.pem")


def log_of_clicks(bundle, weight: float, since: int = AS_OF):
    """Rows of answers in a random order, of which one item is clicked, more likely if the ranker expects it."""
    recommender = Recommender.open(bundle)
    random = np.random.default_rng(0)
    rows, names = [], recommender.catalog.item_id.to_pylist()
    for user in ("ann", "bob", "late"):
        histories = recommender.store.before(np.array([recommender.user_row[user]]), np.array([AS_OF]), 200)
        for query in QUERIES:
            (ranking,) = recommender.rank(histories, 40, [query])
            expected = log_odds(target_probability(ranking.tasks, ranking.dense))
            for number in range(12):
                shown = random.permutation(len(expected))[:8]
                chance = np.exp(weight * expected[shown]) / np.arange(1, len(shown) + 1)
                clicked = random.choice(len(shown), p=chance / chance.sum())
                rows += [
                    (query, names[ranking.item[at]], int(place == clicked), place + 1, user, since + 60 * number)
                    for place, at in enumerate(shown)
                ]
    return rows


def trained(bundle, folder, rows, columns=COLUMNS, **options):
    with (folder / "clicks.csv").open("w", newline="") as file:
        csv.writer(file).writerows([columns, *rows])
    given = RelevanceOptions(**{**OPTIONS.model_dump(), **options})
    searched, out = Searched(bundle=bundle), folder / "relevance.json"
    return train_relevance(str(folder / "clicks.csv"), searched, out, given, lambda *_: None)


def test_shoppers_who_click_what_their_ranker_expects_give_it_weight(bundle, tmp_path):
    found = {}
    for weight in (0.0, 1.5):
        model = trained(bundle, tmp_path, log_of_clicks(bundle, weight))
        found[weight] = model.weights["personal"]
        assert model.about["personal_showings"] > 200, "ann, bob and late, for eight queries"
        if weight:
            assert model.about["personal_ndcg_at_10"] > model.about["impersonal_ndcg_at_10"] + 0.05
            assert model.about["personal_gain"][1] > 0
    assert 0 <= found[0.0] < 0.25 < 0.75 < found[1.5], found


@pytest.mark.parametrize("case", ["earlier", "few", "strangers", "no times"])
def test_nothing_is_learned_from_what_the_bundle_saw_or_from_too_little(bundle, tmp_path, case):
    rows = log_of_clicks(bundle, 1.0, AS_OF - 10_000 if case == "earlier" else AS_OF)
    rows = [(*row[:4], "nobody", row[5]) for row in rows] if case == "strangers" else rows
    columns = (*COLUMNS[:5], "other") if case == "no times" else COLUMNS
    model = trained(bundle, tmp_path, rows, columns, **({"least_showings": 10_000} if case == "few" else {}))
    assert "personal" not in model.weights
    told = model.about.get("personal_showings")
    assert told is None if case == "no times" else told > 200 if case == "few" else told == 0


def test_times_that_cannot_be_read_are_refused(bundle, tmp_path):
    rows = [(*row[:5], "yesterday") for row in log_of_clicks(bundle, 1.0)]
    with pytest.raises(InputError, match="no timestamp of") as error:
        trained(bundle, tmp_path, rows)
    assert "2026-06-01T08:00:00Z" in error.value.fix and not (tmp_path / "relevance.json").exists()


def test_times_are_seconds_or_iso_8601():
    moment = datetime(2026, 6, 1, 8, tzinfo=UTC)
    seconds = moment.timestamp()
    written = (moment, moment.replace(tzinfo=None), seconds, str(seconds), "2026-06-01T08:00:00Z", "2026-06-01 08:00")
    assert {read_time(value) for value in written} == {seconds}
    assert read_time("2026-06-01T10:00:00+02:00") == seconds
    assert [read_time(value) for value in (None, "", "June", [1])] == [None] * 4
