"""The linear relevance model and LambdaMART side by side, on the judgments of chorus_icecat.

`python -m tests.benchmarks.search.models --data ../shared/data --encoder out/encoder` writes
results/models-chorus-icecat.md. Every query is answered by models that saw it neither when they were fitted nor when
they were chosen (nested cross-validation over queries); nothing is tuned to these queries.
"""

import argparse
import shlex
import sys
import time
from pathlib import Path

import numpy as np

from components.evaluate_search.catalog import items_catalog
from components.evaluate_search.config import SearchEvaluationOptions
from components.evaluate_search.judgments import read_judgments
from components.shared.evaluation.bootstrap import intervals
from components.train_relevance.choosing import Choice, choices, estimate
from components.train_relevance.config import RelevanceOptions
from components.train_relevance.fitting import JudgedQuery
from components.train_relevance.train import judged_queries
from tests.benchmarks.search.learned import encoded_search
from tests.benchmarks.search.relevance import FOLDER, MAPPING
from tests.benchmarks.tables import provenance, write_table

# There are fewer queries here than LambdaMART is considered for by default.
OPTIONS = RelevanceOptions(least_queries_for_trees=1)
_NAMES = {"linear": "linear (ListNet)", "lambdamart": "LambdaMART"}
_TIMES = 50


def scoring_ms(choice: Choice, queries: list[JudgedQuery], options: RelevanceOptions) -> float:
    """Median time to score 1,000 candidates with a fitted model, in milliseconds."""
    model = choice.fitted(queries, options.features)
    features = np.concatenate([query.features for query in queries])[:1_000]
    model.relevance(features)
    taken = []
    for _ in range(_TIMES):
        started = time.perf_counter()
        model.relevance(features)
        taken.append(time.perf_counter() - started)
    return float(np.median(taken)) * 1_000


def table(queries: list[JudgedQuery], options: RelevanceOptions) -> str:
    """The result table in Markdown."""
    among = choices(options, len(queries))
    found = estimate(queries, among, options)
    words = np.array([query.ndcg(query.words) for query in queries])
    rows = {"score of the words": words} | {_NAMES[name]: ndcg for name, ndcg in found.families.items()}
    rows["the better of both by inner cross-validation"] = found.ndcg
    first = {_NAMES[choice.family]: choice for choice in reversed(among)}
    lines = ["| model | nDCG@10 | minus linear, 95 % | 1,000 candidates |", "|---|---|---|---|"]
    for name, ndcg in rows.items():
        values = ndcg - rows[_NAMES["linear"]]
        (gain,) = intervals(values[:, None], SearchEvaluationOptions().bootstrap)
        interval = f"{gain.mean:+.4f} [{gain.low:+.4f}, {gain.high:+.4f}]" if values.any() else ""
        taken = f"{scoring_ms(first[name], queries, options):.2f} ms" if name in first else ""
        lines.append(f"| {name} | {ndcg.mean():.4f} | {interval} | {taken} |")
    return "\n".join(lines)


def main() -> None:
    """Measure and write the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder that holds chorus_icecat")
    parser.add_argument("--encoder", type=Path, required=True, help="folder of encode_text")
    parser.add_argument("--results", type=Path, default=Path(__file__).parent / "results")
    given = parser.parse_args()
    mapping = {f"items.{ours}": theirs for ours, theirs in MAPPING.items()}
    catalog = items_catalog(str(given.data / FOLDER / "products.parquet"), {"mapping": mapping})
    source = str(given.data / FOLDER / "judgments.parquet")
    judgments = read_judgments(source, SearchEvaluationOptions()).within(catalog.row_of)
    queries = judged_queries(encoded_search(catalog, given.encoder), judgments, catalog, OPTIONS, 0)
    facts = (
        f"{len(queries)} queries with a relevant product, {len(catalog):,} products, candidates without a judgment "
        f"count as 0; mean over {OPTIONS.repeats} divisions into {OPTIONS.folds} parts. Each family's penalty, signs "
        "or trees are chosen by cross-validation within the other parts. search-train considers LambdaMART from "
        f"{RelevanceOptions().least_queries_for_trees} queries on; here it is considered all the same."
    )
    found = table(queries, OPTIONS)
    command = shlex.join(["python -m tests.benchmarks.search.models", *sys.argv[1:]]).replace("'", "")
    write_table(given.results, "models-chorus-icecat", f"{facts}\n\n{found}\n\n{provenance(command)}")
    print(found)


if __name__ == "__main__":
    main()
