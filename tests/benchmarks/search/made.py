"""Two shops without queries, asked with queries made from their titles and categories: for regression, not for claims.

`python -m tests.benchmarks.search.made --data ../shared/data` writes results/made-queries.md.
"""

import argparse
import shlex
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from components.evaluate_search.catalog import SearchCatalog, items_catalog
from components.evaluate_search.config import SearchEvaluationOptions
from components.evaluate_search.judgments import read_judgments
from components.evaluate_search.made_queries import write_made_queries
from components.evaluate_search.measuring import measure
from components.evaluate_search.systems import catalog_systems
from components.ingest_events.ingest import IngestOutputs, ingest
from components.shared.search.config import SearchOptions
from tests.benchmarks.tables import provenance, write_table

RETAIL = Path("online_retail_ii/online_retail_ii.parquet")
COUNT = 200
_METRICS = ("ndcg_at_10", "recall_at_100", "mrr")


def complete_journey(folder: Path) -> SearchCatalog:
    """Catalog of Complete Journey."""
    names = ("events", "items", "users", "rejected")
    ingest("complete-journey", IngestOutputs(**{name: folder / name for name in names}), "full")
    return items_catalog(str(folder / "items"), {})


def online_retail(path: Path, folder: Path) -> SearchCatalog:
    """Catalog of Online Retail II: the description that a stock code has most often."""
    table = pq.read_table(path, columns=["stock_code", "description"]).drop_null()
    counted = table.group_by(["stock_code", "description"]).aggregate([([], "count_all")]).sort_by("count_all")
    # Of several rows of an item the last one counts.
    items = pa.table({"item_id": counted["stock_code"], "title": counted["description"]})
    pq.write_table(items, folder / "items.parquet")
    return items_catalog(str(folder / "items.parquet"), {})


def rows(name: str, catalog: SearchCatalog, folder: Path) -> Iterator[str]:
    """Rows of the table, one for each kind of query and system."""
    path = folder / "judgments.parquet"
    write_made_queries(catalog, COUNT, path)
    made = pq.read_table(path)
    kind_of = dict(zip(made["query"].to_pylist(), made["kind"].to_pylist(), strict=True))
    judgments = read_judgments(str(path), SearchEvaluationOptions())
    systems = catalog_systems(catalog, SearchOptions())
    answers = measure(systems, judgments, catalog, 1.0, lambda *_: None)
    kinds = np.array([kind_of[query] for query in judgments.grades])
    for kind in dict.fromkeys(kinds.tolist()):
        asked = kinds == kind
        for system, found in answers.items():
            figures = " | ".join(f"{found.metrics[metric][asked].mean():.4f}" for metric in _METRICS)
            empty = (found.counts[asked] == 0).mean()
            yield f"| {name} | {kind} | {int(asked.sum())} | {system} | {figures} | {empty:.3f} |"


def main() -> None:
    """Measure and write the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, help=f"holds {RETAIL}; else one shop")
    parser.add_argument("--results", type=Path, default=Path(__file__).parent / "results")
    given = parser.parse_args()
    lines = ["| shop | kind | queries | system | nDCG@10 | recall@100 | MRR | no result |",
             "|---|---|--:|---|--:|--:|--:|--:|"]  # fmt: skip
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        lines += rows("Complete Journey", complete_journey(folder), folder)
        if given.data:
            lines += rows("Online Retail II", online_retail(given.data / RETAIL, folder), folder)
    facts = ("Queries made from titles and categories (`shoprank search-queries`): right is an item whose title has "
             "all words, or that is in the category. Figures compare versions and say nothing of quality.")  # fmt: skip
    command = shlex.join(["python -m tests.benchmarks.search.made", *sys.argv[1:]]).replace("'", "")
    found = "\n".join(lines)
    write_table(given.results, "made-queries", f"{facts}\n\n{found}\n\n{provenance(command)}")
    print(found)


if __name__ == "__main__":
    main()
