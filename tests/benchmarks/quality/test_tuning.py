"""Arithmetic and text of the comparison of tuned and default options."""

import numpy as np
import pytest

from components.shared.errors import InputError
from tests.benchmarks.quality.shops import shops
from tests.benchmarks.quality.tuning import Proof, compared, facts, table


def test_comparison_pairs_shoppers_and_averages_seeds():
    random = np.random.default_rng(1)
    base = random.random((2, 400))
    better = base + 0.1 + random.normal(0.0, 0.01, (2, 400))
    found = compared([*base, *better])
    assert found["test"]["defaults"] == pytest.approx(base.mean(1)) and found["shoppers"] == 400
    assert found["difference"]["mean"] == pytest.approx((better - base).mean())
    assert 0.099 < found["difference"]["low"] < found["difference"]["mean"] < found["difference"]["high"] < 0.102
    same = compared([*base, *base])["difference"]
    assert (same["mean"], same["low"], same["high"]) == (0.0, 0.0, 0.0)
    # Noise between shoppers is not mistaken for a gain.
    none = compared([*base, *random.random((2, 400))])["difference"]
    assert none["low"] < 0.0 < none["high"]


def test_shops_depend_on_the_available_data(tmp_path):
    assert [shop.name for shop in shops(None)] == ["Complete Journey"]
    with pytest.raises(InputError, match="--data"):
        shops(tmp_path)
    (tmp_path / "online_retail_ii").mkdir()
    (tmp_path / "online_retail_ii" / "online_retail_ii.parquet").touch()
    assert [shop.name for shop in shops(tmp_path)] == ["Complete Journey", "Online Retail II"]


def test_comparison_table_shows_every_number():
    found = {
        "test": {"defaults": [0.1, 0.2], "tuned": [0.2, 0.3]}, "shoppers": 9,
        "difference": {"mean": 0.1, "low": 0.05, "high": 0.15}, "validation": {"defaults": [0.3], "tuned": [0.4]},
    }  # fmt: skip
    line = table({"a shop": {"validation_recall_at_20": found}}).splitlines()[-1]
    assert line == ("| a shop | retriever: recall@20 | 0.3000 ± 0.0000 | 0.4000 ± 0.0000 | 0.1500 ± 0.0707 "
                    "| 0.2500 ± 0.0707 | +0.1000 [+0.0500, +0.1500], +67% |")  # fmt: skip


def test_facts_describe_the_method():
    results = {"a shop": {"validation_recall_at_20": {"shoppers": 1234}}}
    text = facts(Proof(size="small", trials=7, seeds=(0, 1)), results)
    assert all(part in text for part in ("7 trials", "its best 3", "with 2 seeds", "(1,234 of a shop)"))
    assert "with 2 more" not in facts(Proof(size="small", trials=7, seeds=(0,), finalists=0), results)
