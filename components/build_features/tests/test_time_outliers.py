"""Lone events far from the others do not set the timeline; sparse and growing shops keep all of theirs."""

import datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from components.build_features.config import CleaningConfig
from components.build_features.time_outliers import mass


@pytest.mark.parametrize("year", [1985, 2009, 2035])
def test_one_order_of_another_year_changes_nothing(shop, built, built_from, capsys, year):
    far = {**shop.events[0], "timestamp": datetime.datetime(year, 5, 5, tzinfo=datetime.UTC)}
    shop.events.append(far)
    found = built_from(shop)
    assert found.summary.rows == built.summary.rows and found.summary.known_items == built.summary.known_items
    assert found.summary.cleaning["time_outliers_dropped"] == 1
    assert found.summary.cleaning["events_kept"] == built.summary.cleaning["events_kept"]
    said = capsys.readouterr().out
    assert "told build_features 1 event lies apart from all others" in said and f"{year}-05-05: 1" in said


def test_the_option_keeps_them(shop, built_from):
    shop.events.append({**shop.events[0], "timestamp": datetime.datetime(2009, 5, 5, tzinfo=datetime.UTC)})
    found = built_from(shop, cleaning=CleaningConfig(time_outlier_share=0))
    assert found.summary.cleaning["time_outliers_dropped"] == 0


@pytest.mark.parametrize(
    ("days", "events", "kept"),
    [
        (range(60), [20] * 60, (0, 60)), ([0, *range(5_000, 5_060)], [1, *[20] * 60], (1, 61)),
        ([*range(60), 4_000], [*[20] * 60, 3], (0, 60)), ([0, *range(5_000, 5_060)], [100, *[20] * 60], (0, 61)),
        (range(0, 3_000, 30), [2**at for at in range(0, 100)], (0, 100)), ([5], [1], (0, 1)), ([1, 2], [1, 1], (0, 2)),
        # A closed summer, and a first week that was only tried out.
        ([*range(30), *range(120, 330)], [20] * 240, (0, 240)),
        ([0, 40, *range(60, 200)], [1, 1, *[20] * 140], (0, 142)),
    ],
)  # fmt: skip
def test_days_of_the_mass(days, events, kept):
    assert mass(list(days), list(events), 0.01) == kept


@given(st.dictionaries(st.integers(0, 10_000), st.integers(1, 1_000), min_size=1), st.sampled_from([0.0, 0.01, 0.2]))
def test_no_more_than_the_share_is_dropped_on_a_side(counts, share):
    days = sorted(counts)
    events = [counts[day] for day in days]
    start, end = mass(days, events, share)
    assert 0 <= start < end <= len(days)
    assert max(sum(events[:start]), sum(events[end:])) <= share * sum(events)
