"""Latency of the whole search path, dense leg included, on one core by the number of items.

`python -m tests.benchmarks.search.scale --data ../shared/data --encoder out/encoder` writes results/scale.md. Items
are variants of the Icecat products: a product's texts with a colour and a number of its own in the title. Their vectors
are the product's with noise; encoding a million texts would only take longer. Each query is asked once, so that no
cache answers it.
"""

import argparse
import json
import os
import re
import shlex
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import psutil

from components.evaluate_search.catalog import SearchCatalog, items_catalog
from components.evaluate_search.config import SearchEvaluationOptions
from components.evaluate_search.judgments import read_judgments
from components.shared.search.candidates import ItemFacts
from components.shared.search.config import SearchOptions
from components.shared.search.dense import DenseIndex, encoded_text
from components.shared.search.documents import Document, read_documents
from components.shared.search.matching import Matching
from components.shared.search.relevance import SHIPPED, RelevanceModel
from components.shared.search.searching import CatalogSearch
from components.shared.storage import read_json, write_json
from components.shared.text.encoder import TextEncoder
from tests.benchmarks.search.relevance import FOLDER, MAPPING
from tests.benchmarks.tables import provenance, write_table

SIZES = (20_000, 200_000, 1_000_000)
STEPS = ("understand", "encode", "find", "whole result")
_COLOURS = "black white silver red blue green grey gold pink purple orange brown".split()
_NUMBER = re.compile(r"\bm(\d{7})\b")
_QUERIES, _WARM, _PAGE = 1_500, 100, 100
_NOISE = 0.02
"""Standard deviation of the noise of each of the 384 values of a vector, whose length is 1: a cosine of about .93."""


@dataclass(frozen=True)
class Variants:
    """A catalog of variants of products.

    Attributes:
        products: The products. count: Number of items.
    """

    products: Sequence[Document]
    count: int

    def documents(self) -> Iterator[Document]:
        """The items, row by row; item i is a variant of product i modulo their number."""
        for row in range(self.count):
            one, colour = self.products[row % len(self.products)], _COLOURS[(row * 7 + row // 97) % len(_COLOURS)]
            yield Document(f"v{row}", f"{one.title} {colour} m{row:07d}", one.brand, one.categories, one.attributes,
                           one.description)  # fmt: skip


class VariantEncoder(TextEncoder):
    """An encoder that knows the vectors of the products, of which it makes those of their variants."""

    def of_variants(self, variants: Variants) -> "VariantEncoder":
        """Encode the products."""
        self._products = super().items([encoded_text(one) for one in variants.products])
        self._rng = np.random.default_rng(0)
        return self

    def items(self, texts: Sequence[str]) -> np.ndarray:
        """Vectors of variants by the numbers in their titles."""
        found = [_NUMBER.search(text) for text in texts]
        rows = np.array([int(one[1]) if one else 0 for one in found], np.int64) % len(self._products)
        vectors = self._products[rows]
        for start in range(0, len(vectors), 10_000):
            part = vectors[start : start + 10_000]
            part += self._rng.normal(0, _NOISE, part.shape).astype(np.float32)
            part /= np.maximum(np.linalg.norm(part, axis=1, keepdims=True), 1e-9)
        return vectors


def build(variants: Variants, folder: Path, encoder: Path) -> float:
    """Write the index of a catalog with its vectors; returns the seconds of it."""
    folder.mkdir(parents=True)
    started = time.perf_counter()
    CatalogSearch.build(variants.documents, folder, SearchOptions())
    (folder / _VECTORS).mkdir()
    DenseIndex.build(variants.documents(), folder / _VECTORS,
                     VariantEncoder.load(encoder, threads=0).of_variants(variants))  # fmt: skip
    return time.perf_counter() - started


def queries_of(catalog: SearchCatalog, judged: Sequence[str], count: int) -> list[str]:
    """The judged queries, and of titles two or three neighbouring words, a letter of every fourth query changed."""
    rng = np.random.default_rng(0)
    found = dict.fromkeys(judged)
    titles = catalog.texts("title")
    while len(found) < count:
        words = titles[rng.integers(len(titles))].split()
        at = int(rng.integers(max(1, len(words) - 2)))
        query = " ".join(words[at : at + int(rng.integers(2, 4))])
        if len(found) % 4 == 0 and len(query) > 4:
            place = int(rng.integers(1, len(query) - 1))
            query = query[:place] + "e" + query[place + 1 :]
        found.setdefault(query)
    return list(found)


def measure(folder: Path, encoder: Path, count: int, queries: Sequence[str]) -> dict[str, Any]:
    """Milliseconds of each query by step [queries, STEPS], of this process on one core, and its memory."""
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    before, started = psutil.Process().memory_info().rss, time.perf_counter()
    search = opened(folder, encoder, count)
    opening = time.perf_counter() - started
    assert search.dense is not None
    allowed = np.random.default_rng(1).random(count) < 0.95
    times, answered = np.zeros((len(queries), len(STEPS))), 0
    for at, query in enumerate(queries):
        marks = [time.perf_counter()]
        understood = search.understand(query)
        marks.append(time.perf_counter())
        search.dense.encoder.query(understood.written)
        marks.append(time.perf_counter())
        answer = search.find(understood, _PAGE, allowed)
        marks.append(time.perf_counter())
        Matching(search, understood).within(allowed)
        marks.append(time.perf_counter())
        times[at] = np.diff(marks)
        answered += bool(len(answer.item))
    memory = (psutil.Process().memory_info().rss - before) / 2**20
    return {"ms": (times * 1_000).tolist(), "open_s": opening, "memory_mb": memory, "answered": answered}


def opened(folder: Path, encoder: Path, count: int) -> CatalogSearch:
    """The search with its dense leg and the shipped weights, for items with prices and popularity."""
    rng = np.random.default_rng(2)
    facts = ItemFacts(np.exp(rng.normal(3, 1, count)).astype(np.float32), rng.zipf(1.5, count).astype(np.float64))
    search = CatalogSearch.load(folder, facts)
    dense = DenseIndex.load(folder / _VECTORS, TextEncoder.load(encoder), SearchOptions().least_meaning)
    return search.with_dense(dense).with_model(RelevanceModel.read(SHIPPED))


def row_of(count: int, seconds: float, found: dict[str, Any]) -> str:
    """A row of the table."""
    times = np.array(found["ms"])[_WARM:]
    whole = times.sum(1)
    p50, p95, p99 = np.percentile(whole, [50, 95, 99])
    steps = " | ".join(f"{np.median(step):.2f} / {np.percentile(step, 99):.2f}" for step in times.T)
    return (
        f"| {count:,} | {p50:.1f} ms | {p95:.1f} ms | **{p99:.1f} ms** | {whole.max():.1f} ms | {steps} | "
        f"{seconds / 60:.1f} min | {found['open_s']:.1f} s | {found['memory_mb']:,.0f} MB | "
        f"{found['answered'] / len(found['ms']):.1%} |"
    )


def main() -> None:
    """Build what is missing in the folder, measure each size in a process of its own, write the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder that holds chorus_icecat")
    parser.add_argument("--encoder", type=Path, required=True, help="folder of encode_text")
    parser.add_argument("--sizes", type=int, nargs="+", default=SIZES)
    parser.add_argument("--indexes", type=Path, default=Path("out/scale"), help="indexes are kept here")
    parser.add_argument("--build-only", action="store_true")
    parser.add_argument("--measure", type=int, help="measure one size and print JSON")
    parser.add_argument("--results", type=Path, default=Path(__file__).parent / "results")
    given = parser.parse_args()
    mapping = {f"items.{ours}": theirs for ours, theirs in MAPPING.items()}
    catalog = items_catalog(str(given.data / FOLDER / "products.parquet"), {"mapping": mapping})
    if given.measure:
        judgments = read_judgments(str(given.data / FOLDER / "judgments.parquet"), SearchEvaluationOptions())
        queries = queries_of(catalog, list(judgments.grades), _QUERIES)
        print(json.dumps(measure(given.indexes / str(given.measure), given.encoder, given.measure, queries)))
        return
    products = list(read_documents(catalog.table))
    for count in given.sizes:
        folder = given.indexes / str(count)
        if not (folder / _BUILT).exists():
            write_json(folder / _BUILT, {"seconds": build(Variants(products, count), folder, given.encoder)})
    if given.build_only:
        return
    rows = []
    for count in given.sizes:
        command = [sys.executable, "-m", "tests.benchmarks.search.scale", *sys.argv[1:], "--measure", str(count)]
        done = subprocess.run(command, check=True, capture_output=True, text=True)
        rows.append(row_of(count, read_json(given.indexes / str(count) / _BUILT)["seconds"], json.loads(done.stdout)))
        print(rows[-1], flush=True)
    command = shlex.join(["python -m tests.benchmarks.search.scale", *sys.argv[1:]]).replace("'", "")
    write_table(given.results, "scale", f"{_FACTS}\n\n{_HEAD}\n" + "\n".join(rows) + f"\n\n{provenance(command)}")


_BUILT, _VECTORS = "built.json", "vectors"
_FACTS = (
    f"{_QUERIES - _WARM:,} queries, each asked once, one after the other, one thread on one core: the judged ones and "
    "words of titles, every fourth misspelt; 95 % of the items are available. understand: analysis, spelling, names, "
    "prices. encode: the query's vector (ONNX int8; a query asked before costs nothing). find: words and meaning, "
    "fused by the shipped weights. whole result: what is counted, faceted and paged. Steps: p50 / p99 in ms. Items are "
    "variants of 19,406 products, so a word is in as large a share of a million items as of 20,000. Vectors: a scan up "
    "to 200,000 items, HNSW above."
)
_HEAD = (
    f"| items | p50 | p95 | p99 | worst | {' | '.join(STEPS)} | index | open | memory | answered |\n"
    f"|---|---|---|---|---|{'---|' * len(STEPS)}---|---|---|---|"
)


if __name__ == "__main__":
    main()
