"""The comparison of rankers: trained and evaluated on one retriever's candidates; finished runs are kept."""

import pyarrow.parquet as pq
import pytest

from components.shared.models.ranker_options import (
    HEADS,
    INTERACTIONS,
    DotConfig,
    RankerArchitecture,
    SharedBottomConfig,
    SingleTaskConfig,
)
from components.shared.recommender.offline import load_ranker
from components.shared.storage import read_json
from components.shared.training.curve import REFIT
from tests.benchmarks.quality.architectures import DEFAULT, KINDS, ONCE, measured, table
from tests.benchmarks.quality.refit import table as refit_table

SINGLE = "DLRM, single tasks"


@pytest.fixture(scope="module")
def gap() -> dict:
    return {"mean": -0.01, "low": -0.02, "high": 0.005}


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_every_kind_is_trained_and_compared_per_shopper(tiny_run, tmp_path):
    kinds = [DEFAULT, SINGLE, ONCE]
    found = measured(tiny_run.features, tmp_path, "tiny", [3], kinds)
    assert list(found) == kinds
    refits = [read_json(tmp_path / f"kind-{number}-seed-3" / "ranker" / REFIT) for number in range(3)]
    assert [bool(refit) for refit in refits] == [True, True, False]
    assert found[ONCE]["validation"] == found[DEFAULT]["validation"] and found[ONCE]["test"] != found[DEFAULT]["test"]
    assert found[DEFAULT]["difference"] == {"mean": 0.0, "low": 0.0, "high": 0.0}
    own, other = (load_ranker(tmp_path / f"kind-{number}-seed-3" / "ranker").config.architecture for number in (0, 1))
    assert own == RankerArchitecture() and other == RankerArchitecture(heads=SingleTaskConfig())
    lists = pq.read_table(tmp_path / "kind-1-seed-3" / "evaluation" / "lists.parquet").to_pandas()
    model = lists[(lists.scope == "overall") & (lists.method == "model")]
    assert found[SINGLE]["test"] == [pytest.approx(model.ndcg_at_10.mean())]
    assert found[SINGLE]["shoppers"] == len(model)
    gap = found[SINGLE]["test"][0] - found[DEFAULT]["test"][0]
    assert found[SINGLE]["difference"]["mean"] == pytest.approx(gap)
    times = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*.safetensors")}
    assert measured(tiny_run.features, tmp_path, "tiny", [3], kinds) == found
    assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*.safetensors")} == times


def test_refit_table_shows_the_gain(gap):
    tests = {ONCE: {"test": [0.3, 0.32], "difference": gap}, DEFAULT: {"test": [0.31, 0.33]}}
    assert refit_table({"Shop": tests}).splitlines()[2:] == [
        "| Shop | 0.3100 ± 0.0141 | 0.3200 ± 0.0141 | +0.0100 [-0.0050, +0.0200] |"
    ]


def test_table_shows_shop_kind_spread_and_difference(gap):
    values = {"validation": [0.4, 0.6], "test": [0.3, 0.3], "seconds": [10.4, 11.0], "shoppers": 9}
    text = table({"Shop": {DEFAULT: {**values, "difference": gap}, "DCN V2": {**values, "difference": gap}}})
    assert text.splitlines()[2:] == [
        f"| Shop | {DEFAULT} | 0.5000 ± 0.1414 | 0.3000 ± 0.0000 |  | 11 s |",
        "| Shop | DCN V2 | 0.5000 ± 0.1414 | 0.3000 ± 0.0000 | -0.0100 [-0.0200, +0.0050] | 11 s |",
    ]


def test_kinds_cover_every_interaction_and_all_heads():

    chosen = [{"interaction": DotConfig(), "heads": SharedBottomConfig(), **parts} for parts in KINDS.values()]
    assert len({repr(parts) for parts in chosen}) == len(chosen)
    assert {type(parts["interaction"]) for parts in chosen} == set(INTERACTIONS)
    assert {type(parts["heads"]) for parts in chosen} == set(HEADS)
