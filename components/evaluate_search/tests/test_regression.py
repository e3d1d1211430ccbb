"""The search of a real catalog, asked with queries made from it: no kind of query may fall below its floor."""

import numpy as np
import pyarrow.parquet as pq
import pytest

from components.evaluate_search.catalog import SearchCatalog, items_catalog
from components.evaluate_search.config import SearchEvaluationOptions
from components.evaluate_search.judgments import read_judgments
from components.evaluate_search.made_queries import write_made_queries
from components.evaluate_search.measuring import measure
from components.evaluate_search.systems import ProductSearch


@pytest.mark.slow
def test_titles_typing_errors_and_categories_of_complete_journey_are_found(tiny_run, tmp_path):
    whole = items_catalog(str(tiny_run.items), {})
    # Every tenth item: to index all of them would take most of a minute.
    catalog = SearchCatalog("items", whole.table.take(np.arange(0, len(whole), 10)))
    counts = write_made_queries(catalog, 100, tmp_path / "judgments.parquet")
    assert len(catalog) > 1_000 and set(counts) == {"title", "mistyped", "category"} and min(counts.values()) >= 60
    made = pq.read_table(tmp_path / "judgments.parquet")
    kind_of = dict(zip(made["query"].to_pylist(), made["kind"].to_pylist(), strict=True))
    judgments = read_judgments(str(tmp_path / "judgments.parquet"), SearchEvaluationOptions())
    found = measure({"ours": ProductSearch(catalog)}, judgments, catalog, 1.0, lambda *_: None)["ours"]
    kinds = np.array([kind_of[query] for query in judgments.grades])
    ndcg = {kind: float(found.metrics["ndcg_at_10"][kinds == kind].mean()) for kind in counts}
    assert min(ndcg["title"], ndcg["mistyped"], ndcg["category"]) > 0.92, ndcg
    assert (found.counts > 0).all()
