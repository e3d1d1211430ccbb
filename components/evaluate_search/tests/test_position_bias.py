"""Clicks with positions: how likely a position is examined, and grades that are corrected by it."""

import csv

import numpy as np
import pytest
from scipy.stats import spearmanr

from components.evaluate_search.config import SearchEvaluationOptions
from components.evaluate_search.judgments import read_judgments
from components.shared.errors import InputError

EXAMINED = 1 / np.arange(1, 9)
COLUMNS = ("query", "item_id", "position", "clicks", "impressions")


def read(path, rows, columns=COLUMNS):
    with path.open("w", newline="") as file:
        csv.writer(file).writerows([columns, *rows])
    return read_judgments(str(path), SearchEvaluationOptions())


def clicked(seed: int, queries: int = 40, showings: int = 300):
    """Wanted [queries, items], and rows of what a wrong ranking showed, with clicks of a position-based model."""
    random = np.random.default_rng(seed)
    items = len(EXAMINED)
    wanted = random.uniform(0.05, 0.8, (queries, items))
    rows = []
    for query in range(queries):
        # The items that nobody wants are on top; from day to day the order varies a little.
        noise = random.normal(0, 0.25, (showings, items))
        place = np.argsort(np.argsort(wanted[query] + noise, 1), 1)
        happened = random.random(place.shape) < EXAMINED[place] * wanted[query]
        for item in range(items):
            shown = np.bincount(place[:, item], minlength=items)
            clicks = np.bincount(place[:, item], happened[:, item], items)
            rows += [(f"q{query}", f"i{item}", at + 1, int(clicks[at]), shown[at]) for at in np.flatnonzero(shown)]
    return wanted, rows


@pytest.mark.parametrize("seed", range(3))
def test_corrected_grades_are_nearer_to_what_is_wanted_than_rates_of_clicks(tmp_path, seed):
    wanted, rows = clicked(seed)
    fair = read(tmp_path / "fair.csv", rows)
    blind = read(tmp_path / "blind.csv", [(*row[:2], *row[3:]) for row in rows], (*COLUMNS[:2], *COLUMNS[3:]))
    assert fair.examined is not None
    assert list(fair.examined.values()) == pytest.approx(EXAMINED, abs=0.05) and list(fair.examined) == [*range(1, 9)]
    agreement = {}
    for name, found in (("fair", fair), ("blind", blind)):
        graded = np.array([[found.grades[f"q{q}"][f"i{i}"] for i in range(8)] for q in range(len(wanted))])
        agreement[name] = np.mean([spearmanr(*pair).statistic for pair in zip(wanted, graded, strict=True)])
    assert agreement["fair"] > 0.9 and agreement["fair"] > agreement["blind"] + 0.2, agreement
    assert "corrected by how likely a position is examined: 1: 1.00, 2: 0." in fair.sentences()[-1]
    assert "positions of the items are not known" in blind.sentences()[-1]


def test_rows_of_single_showings_are_counted(tmp_path):
    rows = [("tea", name, place, click) for name, place, click, times in (
        ("a", 1, 1, 40), ("a", 1, 0, 60), ("a", 2, 1, 10), ("a", 2, 0, 40), ("b", 2, 1, 20), ("b", 2, 0, 80),
    ) for _ in range(times)]  # fmt: skip
    found = read(tmp_path / "log.csv", rows, COLUMNS[:4])
    assert found.examined == pytest.approx({1: 1.0, 2: 0.5}, abs=0.03) and found.account.kept == len(rows)
    assert found.grades["tea"]["b"] == pytest.approx(found.grades["tea"]["a"], rel=0.15)
    assert "247 rows repeat a query, item and position: their clicks are added up" in found.sentences()


def test_nothing_is_corrected_where_the_order_never_changed(tmp_path):
    rows = [(query, name, place, 30 // place, 100) for query in ("tea", "pot") for place, name in enumerate("abc", 1)]
    found = read(tmp_path / "j.csv", rows)
    plain = read(tmp_path / "p.csv", [(*row[:2], *row[3:]) for row in rows], (*COLUMNS[:2], *COLUMNS[3:]))
    assert found.examined == {} and found.grades == plain.grades
    assert "no clicked item was shown at several positions" in found.sentences()[-1]


def test_position_without_a_comparison_has_the_value_of_the_nearest_above(tmp_path):
    rows = [
        ("tea", "a", 2, 40, 100), ("tea", "a", 5, 20, 100), ("pot", "b", 7, 9, 90), ("pot", "b", 9, 1, 90),
        ("pot", "c", 1, 30, 90), ("jug", "d", 6, 0, 90), ("jug", "d", 1, 0, 90),
    ]  # fmt: skip
    found = read(tmp_path / "j.csv", rows).examined
    assert found == pytest.approx({1: 1, 2: 1, 5: 0.5, 6: 0.5, 7: 0.5, 9: 0.5}, abs=0.02)


def test_rows_without_a_usable_position_are_counted(tmp_path):
    bad = [("", 100), ("0", 100), ("first", 100), ("1.5", 100), ("1e300", 100), ("2", ""), ("2", "-1")]
    rows = [("tea", "a", 1, 5, 10), *(("tea", "a", place, 5, seen) for place, seen in bad)]
    account = read(tmp_path / "j.csv", rows).account
    assert account.kept == 1 and {reason: lost.rows for reason, lost in account.rejected.items()} == {
        "position is missing": 1, "position is below 1": 1, "position cannot be read": 3,
        "impressions is missing": 1, "impressions is negative": 1,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("rows", "columns", "headline", "fix"),
    [
        (
            [("tea", "a", 1, 40), ("tea", "b", 2, 3)],
            COLUMNS[:4],
            "clicks above 1, but no column 'impressions'",
            "shown",
        ),
        ([("tea", "a", 1, 1), ("tea", "b", 2, 1)], COLUMNS[:4], "only rows with a click", "not clicked"),
        ([("tea", "a", 0, 1, 1)], COLUMNS, "no row of judgments", "impressions and a position from 1"),
    ],
)
def test_positions_that_say_nothing_are_refused_with_a_fix(tmp_path, rows, columns, headline, fix):
    with pytest.raises(InputError) as raised:
        read(tmp_path / "j.csv", rows, columns)
    assert headline in raised.value.headline and fix in raised.value.fix
