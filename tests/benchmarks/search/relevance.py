"""Search of the Icecat catalog with human judgments (chorus_icecat) beside what a shop would use instead.

`python -m tests.benchmarks.search.relevance --data ../shared/data` writes results/relevance-chorus-icecat.md.
All systems index title and description; ours also brand and attributes. Nothing is tuned to the queries. --peers
adds OpenSearch and Typesense, with the texts of ours, and everybody's memory.
"""

import argparse
import shlex
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import numpy as np
import tantivy

from components.evaluate_search.catalog import SearchCatalog, items_catalog
from components.evaluate_search.config import SearchEvaluationOptions
from components.evaluate_search.judgments import read_judgments
from components.evaluate_search.measuring import Answers, measure, scored_queries
from components.evaluate_search.systems import PlainBm25, ProductSearch
from components.shared.evaluation.bootstrap import intervals
from components.shared.evaluation.search_systems import SearchSystem
from components.train_relevance.config import RelevanceOptions
from tests.benchmarks.search.learned import SHIPPED_LIKE, CrossValidatedSearch, encoded_search
from tests.benchmarks.search.peers.memory import Build
from tests.benchmarks.search.peers.side_by_side import Question, measure_peers, note_memory
from tests.benchmarks.tables import provenance, write_table

FOLDER = "chorus_icecat"
MAPPING = {
    "item_id": "id", "title": "title", "brand": "supplier", "description": "short_description",
    "attributes": "attributes_json",
}  # fmt: skip
_PLAIN = "bm25s"
_WARM = 20


class TantivyEnglish:
    """tantivy as it comes: BM25 of its English analyzer over title and description, any word matches."""

    def __init__(self, catalog: SearchCatalog):
        self._catalog = catalog
        builder = tantivy.SchemaBuilder()
        for name in ("title", "description"):
            builder.add_text_field(name, tokenizer_name="en_stem")
        builder.add_integer_field("row", fast=True)
        self._index = tantivy.Index(builder.build(), path=tempfile.mkdtemp())
        writer = self._index.writer(256_000_000, num_threads=1)
        texts = zip(catalog.texts("title"), catalog.texts("description"), strict=True)
        for row, (title, description) in enumerate(texts):
            writer.add_document(tantivy.Document(title=title, description=description, row=row))
        writer.commit()
        writer.wait_merging_threads()
        self._index.reload()

    def search(self, query: str, count: int) -> list[str]:
        """Items with a word of the query."""
        words = " ".join("".join(letter if letter.isalnum() else " " for letter in query).split())
        if not words:
            return []
        parsed, _ = self._index.parse_query_lenient(words.lower(), ["title", "description"])
        searcher = self._index.searcher()
        hits = searcher.search(parsed, count, count=False).hits
        rows = searcher.fast_field_values("row", [hit[1] for hit in hits])
        return [self._catalog.item_id[row] for row in np.array(rows, np.int64).tolist()]

    def rank(self, query: str, item_ids: Sequence[str]) -> list[str]:
        """The given items by score, then those without a word of the query."""
        given = set(item_ids)
        found = [name for name in self.search(query, len(self._catalog)) if name in given]
        return list(dict.fromkeys([*found, *item_ids]))


@dataclass
class Timed:
    """A system whose searches are timed.

    Attributes:
        system: The system. index_seconds: Time to build it. seconds: Of each search.
        build: Builds it again, elsewhere. memory_mb: See peers.side_by_side.
    """

    system: SearchSystem
    index_seconds: float
    seconds: list[float] = field(default_factory=list)
    build: Build | None = None
    memory_mb: float | None = None

    def search(self, query: str, count: int) -> list[str]:
        """Search and note the time."""
        started = time.perf_counter()
        found = self.system.search(query, count)
        self.seconds.append(time.perf_counter() - started)
        return found

    def rank(self, query: str, item_ids: Sequence[str]) -> list[str]:
        """Rank without a time."""
        return self.system.rank(query, item_ids)


def timed(build: type, catalog: SearchCatalog, **options: bool) -> Timed:
    """Build a system and note the time."""
    started = time.perf_counter()
    return Timed(build(catalog, **options), time.perf_counter() - started, build=partial(build, **options))


def table(systems: dict[str, Timed], answers: dict[str, Answers], scored: np.ndarray) -> str:
    """The result table in Markdown."""
    held = {name: f" {one.memory_mb:.0f} MB |" for name, one in systems.items() if one.memory_mb is not None}
    lines = [
        "| system | nDCG@10 | judged@10 | re-rank | recall@100 | MRR | minus bm25s, 95 % | index | p50 | p99 |",
        "|---|---|---|---|---|---|---|---|---|---|",
    ]
    if held:
        lines = [lines[0] + " memory |", lines[1] + "---|"]
    plain = answers[_PLAIN].metrics["ndcg_at_10"][scored]
    for name, found in answers.items():
        metrics = [found.metrics[metric][scored].mean() for metric in found.metrics]
        gain = ""
        if name != _PLAIN:
            values = found.metrics["ndcg_at_10"][scored] - plain
            (interval,) = intervals(values[:, None], SearchEvaluationOptions().bootstrap)
            gain = f"{interval.mean:+.4f} [{interval.low:+.4f}, {interval.high:+.4f}]"
        p50, p99 = np.percentile(systems[name].seconds[_WARM:], [50, 99]) * 1_000
        figures = " | ".join(f"{value:.4f}" for value in metrics)
        lines.append(
            f"| {name} | {figures} | {gain} | {systems[name].index_seconds:.1f} s | {p50:.2f} ms | {p99:.2f} ms |"
            + held.get(name, " |" * bool(held))
        )
    return "\n".join(lines)


def main() -> None:
    """Measure and write the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder that holds chorus_icecat")
    parser.add_argument("--peers", action="store_true", help="beside OpenSearch and Typesense; with memory")
    parser.add_argument("--results", type=Path, default=Path(__file__).parent / "results")
    parser.add_argument("--encoder", type=Path, help="folder of encode_text: also with meaning and learned relevance")
    given = parser.parse_args()
    options = SearchEvaluationOptions()
    mapping = {f"items.{ours}": theirs for ours, theirs in MAPPING.items()}
    catalog = items_catalog(str(given.data / FOLDER / "products.parquet"), {"mapping": mapping})
    judgments = read_judgments(str(given.data / FOLDER / "judgments.parquet"), options).within(catalog.row_of)
    systems = {
        _PLAIN: timed(PlainBm25, catalog), "tantivy, English": timed(TantivyEnglish, catalog),
        "shoprank, verbatim": timed(ProductSearch, catalog, verbatim=True), "shoprank": timed(ProductSearch, catalog),
    }  # fmt: skip
    if given.encoder:
        started = time.perf_counter()
        encoded = encoded_search(catalog, given.encoder)
        seconds = time.perf_counter() - started
        for name, how in {"shoprank, shipped weights": SHIPPED_LIKE, "shoprank, learned": RelevanceOptions()}.items():
            systems[name] = Timed(CrossValidatedSearch(catalog, judgments, encoded, how), seconds)
    answers = measure(systems, judgments, catalog, options.relevant_grade, lambda *_: None)
    notes = ""
    if given.peers:
        question = Question(catalog, judgments, options.relevant_grade)
        note_memory(systems, {name: one.build for name, one in systems.items() if one.build}, question)
        notes = measure_peers(systems, answers, Timed, question)
    scored = scored_queries(judgments, options.relevant_grade)
    found = table(systems, answers, scored)
    facts = (
        f"{len(catalog):,} products, {int(scored.sum())} of {len(judgments.grades)} queries have a relevant product. "
        "Unjudged results count 0: judged@10 says how much of an answer was judged. verbatim: without corrections, "
        "prices, exclusions, names and compounds of neighbouring words. Nothing was tuned to these queries: shipped "
        "weights and learned (with a text encoder) are fitted and chosen by nested cross-validation, so that no query "
        "is answered by a model that saw it."
    )
    command = shlex.join(["python -m tests.benchmarks.search.relevance", *sys.argv[1:]]).replace("'", "")
    write_table(given.results, "relevance-chorus-icecat", f"{facts}\n\n{found}\n\n{notes}{provenance(command)}")
    print(found)


if __name__ == "__main__":
    main()
