"""Judged queries made from a catalog."""

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from components.evaluate_search.catalog import SearchCatalog
from components.evaluate_search.config import SearchEvaluationOptions
from components.evaluate_search.evaluate import Searched, evaluate_search
from components.evaluate_search.judgments import read_judgments
from components.evaluate_search.made_queries import IN_TITLE, RIGHT, made_queries, write_made_queries
from components.shared.errors import InputError
from components.shared.schema.tables import ITEMS

COLOURS, THINGS = ("red", "green", "blue", "black", "white"), ("Kettle", "Lamp", "Sofa", "Towel", "Mirror", "Carpet")


def catalog(extra: tuple[tuple[str, list[str]], ...] = ()) -> SearchCatalog:
    """Sixty items, of two sizes each, and others."""
    rows = [
        {
            "item_id": f"{thing}-{colour}-{size}", "title": f"{thing} {colour} {size} cm",
            "categories": ["Home", f"{thing}s"],
        }
        for thing in THINGS for colour in COLOURS for size in (10, 20)
    ]  # fmt: skip
    rows += [{"item_id": title, "title": title, "categories": levels} for title, levels in extra]
    names = ("item_id", "title", "categories")
    return SearchCatalog("made", pa.Table.from_pylist(rows, pa.schema([ITEMS.field(name) for name in names])))


def test_grades_follow_from_titles_and_categories():
    shop = catalog((("Sofas cover", ["Covers"]),))
    found = {(one.kind, one.text): one.grades for one in made_queries(shop, 100)}
    titles = [text for kind, text in found if kind == "title"]
    assert titles and all(len(text.split()) <= 4 and not any(map(str.isdigit, text)) for text in titles)
    for text in titles:
        words = text.split()
        right = {name for name in shop.item_id if all(word in shop.title(name).casefold().split() for word in words)}
        assert set(found["title", text]) == right and set(found["title", text].values()) == {RIGHT}
    sofas = found["category", "sofas"]
    assert sofas["Sofas cover"] == IN_TITLE and list(sofas.values()).count(RIGHT) == 10 and len(sofas) == 11
    assert ("category", "covers") not in found, "a category of one item"


def test_mistyped_queries_have_other_letters_in_another_order_and_the_same_grades():
    found = made_queries(catalog(), 100)
    by_text = {one.text: one for one in found if one.kind == "title"}
    mistyped = [one for one in found if one.kind == "mistyped"]
    assert mistyped
    for one in mistyped:
        (meant,) = [text for text in by_text if sorted(text) == sorted(one.text) and by_text[text].grades == one.grades]
        assert sum(a != b for a, b in zip(meant, one.text, strict=True)) == 2


def test_choice_stays_when_the_catalog_changes():
    before = {one.text for one in made_queries(catalog(), 100)}
    after = {one.text for one in made_queries(catalog((("Curtain grey", ["Home"]), ("Vase", ["Home"]))), 100)}
    assert before <= after


def test_file_is_read_and_measured_as_judgments_are(tmp_path):
    shop = catalog()
    counts = write_made_queries(shop, 20, tmp_path / "new" / "judgments.parquet")
    read = read_judgments(str(tmp_path / "new" / "judgments.parquet"), SearchEvaluationOptions())
    assert read.kind == "grades" and len(read.grades) == sum(counts.values())
    pq.write_table(shop.table, tmp_path / "items.parquet")
    found = evaluate_search(
        read.source, Searched(items=str(tmp_path / "items.parquet")), tmp_path / "out", tmp_path / "page.html",
        SearchEvaluationOptions(resamples=100), lambda _share, _note: None,
    )  # fmt: skip
    figures = found.metrics()
    assert figures["shoprank_ndcg_at_10"] > 0.95 > figures["bm25_ndcg_at_10"]


def test_catalog_without_titles_has_nothing_to_ask(tmp_path):
    table = pa.table({"item_id": ["1", "2"], "title": pa.array([None, "12"], pa.string())})
    with pytest.raises(InputError, match="no title of 'made' has a word"):
        write_made_queries(SearchCatalog("made", table), 5, tmp_path / "x.parquet")
    assert not list(tmp_path.iterdir())
