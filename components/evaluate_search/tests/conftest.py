"""The small shop on disk, and a function that evaluates."""

import json
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from components.evaluate_search.config import SearchEvaluationOptions
from components.evaluate_search.evaluate import Searched, evaluate_search
from components.evaluate_search.tests.small_shop import ITEMS, JUDGMENTS, write


@pytest.fixture
def shop(tmp_path) -> Path:
    """Folder with items.jsonl and judgments.jsonl."""
    names = ("item_id", "title", "description", "brand", "categories")
    write(tmp_path / "items.jsonl", names, ITEMS)
    write(tmp_path / "judgments.jsonl", ("query", "item_id", "grade"), JUDGMENTS)
    return tmp_path


class Evaluated:
    """What an evaluation wrote, and its notes."""

    def __init__(self, folder: Path, notes):
        self.result = json.loads((folder / "search_evaluation.json").read_text(encoding="utf-8"))
        self.queries = pq.read_table(folder / "queries.parquet").to_pylist()
        self.page = (folder / "page.html").read_text(encoding="utf-8")
        self.notes = notes


@pytest.fixture
def evaluate(shop):
    """Evaluates the shop's items on the given judgments."""

    def run(judgments=shop / "judgments.jsonl", items=shop / "items.jsonl", searched=None, **options) -> Evaluated:
        folder = shop / "out" / "evaluation"
        what = searched or Searched(items=str(items))
        chosen = SearchEvaluationOptions(**{"resamples": 200, **options})
        found = evaluate_search(str(judgments), what, folder, folder / "page.html", chosen, lambda share, note: None)
        return Evaluated(folder, found.notes)

    return run
