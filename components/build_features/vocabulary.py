"""Vocabularies and the encoded catalog: strings are mapped to rows; row 0 is the unknown bucket.

Items and users are sorted by frequency before `retriever_end`; rare ones have a catalog row but no embedding row, so
later events do not decide which ids have one. If embedding rows are limited, recent events count more.
"""

from dataclasses import dataclass
from pathlib import Path

import duckdb
import numpy as np
import pyarrow as pa

from components.build_features.config import VocabularyConfig
from components.build_features.content import content_width
from components.build_features.queries import count, literal, only_row
from components.shared.errors import InputError
from components.shared.text.tokenizer import MAX_TEXT_LENGTH, tokenize


@dataclass(frozen=True, kw_only=True)
class Vocabularies:
    """Sizes, of which categories, brands and tokens include the unknown bucket, and the price scale."""

    known_users: int
    known_items: int
    categories: int
    brands: int
    tokens: int
    price_edges: tuple[float, ...]
    price_log_mean: float
    price_log_std: float
    content_dim: int
    item_hash_rows: int
    later_known: float
    """Share of the events from retriever_end on whose item has an embedding row; 0 without such events."""


def encode_ids(database: duckdb.DuckDBPyConnection, retriever_end: int, config: VocabularyConfig) -> tuple[int, int]:
    """Create tables `user_row` and `item_row` (id, row); return the numbers of users and items with an embedding."""
    limits = {"user": (config.min_user_events, config.user_rows), "item": (config.min_item_events, config.item_rows)}
    known = []
    for name, (least, rows) in limits.items():
        # Rounded, because the order in which threads add values must not change the order of ids.
        age = f"({retriever_end} - epoch(timestamp)) / {86_400 * config.row_half_life_days}"
        weight = f"round(sum(pow(2, -({age}))), 9)" if rows else "count(*)"
        everyone = "items" if name == "item" else "(SELECT DISTINCT user_id FROM clean)"
        database.execute(
            f"CREATE TABLE {name}_row AS SELECT {name}_id, coalesce(seen, 0) AS seen, row_number() OVER (ORDER BY "
            f"coalesce(seen, 0) >= {least} DESC, coalesce(weight, 0) DESC, {name}_id)::INTEGER AS row "
            f"FROM {everyone} LEFT JOIN (SELECT {name}_id, count(*) AS seen, {weight} AS weight FROM clean "
            f"WHERE epoch(timestamp) < {retriever_end} GROUP BY {name}_id) USING ({name}_id)"
        )
        often = count(database, f"{name}_row WHERE seen >= {least}")
        known.append(min(often, rows) if rows else often)
    return known[0], known[1]


def encode_items(
    database: duckdb.DuckDBPyConnection, out: Path, retriever_end: int, config: VocabularyConfig
) -> Vocabularies:
    """Write `items.parquet` (row i = catalog row i) and the vocabularies beside it; return their sizes.

    Raises:
        InputError: a number of rows is negative.
        DataError: a content vector has another width than the rest, or is not finite.
    """
    if config.item_hash_rows < 0:
        raise InputError(f"item_hash_rows is {config.item_hash_rows}", "give 0 for none, or the number of shared rows")
    for name in ("item_rows", "user_rows"):
        if (rows := getattr(config, name)) < 0:
            raise InputError(f"{name} is {rows}", "give 0 for no limit, or the maximum number of embedding rows")
    known_users, known_items = encode_ids(database, retriever_end, config)
    _prices(database, retriever_end)
    edges, mean, std = _price_scale(database, config.price_buckets)
    _label_vocabularies(database, config)
    _title_tokens(database, config)
    content_dim = content_width(database)
    content = ", content_vector" if content_dim else ""
    bucket = f"list_sum(list_transform({list(edges)}::FLOAT[], lambda edge: (price > edge)::INTEGER)) + 1"
    database.execute(
        f"""COPY (
        SELECT 0 AS row, '' AS item_id, '' AS title, '' AS brand, []::VARCHAR[] AS categories, NULL::FLOAT AS price,
               NULL::FLOAT AS list_price, false AS available, NULL::TIMESTAMPTZ AS created_at, '' AS description,
               MAP {{}}::MAP(VARCHAR, VARCHAR) AS attributes, []::INTEGER[] AS category_ids, [0] AS brand_ids,
               [0] AS price_bucket_ids, []::INTEGER[] AS title_ids
        UNION ALL BY NAME
        SELECT item_row.row, item_id, coalesce(title, item_id) AS title, coalesce(brand, '') AS brand,
               coalesce(categories, []) AS categories, price, list_price, coalesce(available, true) AS available,
               created_at,
               coalesce(left(description, {MAX_TEXT_LENGTH}), '') AS description,
               coalesce(attributes, MAP {{}}) AS attributes,
               coalesce(category_ids, []) AS category_ids, [coalesce(brand_vocabulary.row, 0)] AS brand_ids,
               [coalesce({bucket}, 0)::INTEGER] AS price_bucket_ids, coalesce(title_ids, []) AS title_ids{content}
        FROM (SELECT * EXCLUDE (price) FROM items) JOIN item_row USING (item_id) LEFT JOIN item_price USING (item_id)
        LEFT JOIN item_category USING (item_id) LEFT JOIN brand_vocabulary ON brand = value
        LEFT JOIN item_title USING (item_id)
        ORDER BY row) TO {literal(out / "items.parquet")} (FORMAT parquet, COMPRESSION zstd)"""
    )
    for name in ("category", "brand", "token"):
        database.execute(f"COPY (SELECT row, value FROM {name}_vocabulary ORDER BY row) TO "
                         f"{literal(out / f'{name}.parquet')} (FORMAT parquet)")  # fmt: skip
    database.execute(f"COPY (SELECT row, user_id FROM user_row ORDER BY row) TO {literal(out / 'users.parquet')} "
                     "(FORMAT parquet)")  # fmt: skip
    sizes = [1 + count(database, f"{name}_vocabulary") for name in ("category", "brand", "token")]
    return Vocabularies(known_users=known_users, known_items=known_items, categories=sizes[0], brands=sizes[1],
                        tokens=sizes[2], price_edges=edges, price_log_mean=mean, price_log_std=std,
                        content_dim=content_dim, item_hash_rows=config.item_hash_rows,
                        later_known=_later_known(database, retriever_end, known_items))  # fmt: skip


def _later_known(database: duckdb.DuckDBPyConnection, retriever_end: int, known: int) -> float:
    (share,) = only_row(
        database,
        f"SELECT avg((row <= {known})::INTEGER) FROM clean JOIN item_row USING (item_id) "
        f"WHERE epoch(timestamp) >= {retriever_end}",
    )
    return round(float(share or 0.0), 6)


def _prices(database: duckdb.DuckDBPyConnection, retriever_end: int) -> None:
    """Item prices: the catalog's, else the median paid, for models only of events before `retriever_end`.

    Otherwise the existence of a price would reveal that an item was first sold in the test window.
    """
    database.execute(
        "CREATE TABLE item_price AS SELECT item_id, "
        f"coalesce(any_value(items.price), median(clean.price) FILTER (WHERE epoch(timestamp) < {retriever_end}))"
        "::FLOAT AS price, coalesce(any_value(items.price), median(clean.price))::FLOAT AS list_price "
        "FROM items LEFT JOIN clean USING (item_id) GROUP BY item_id"
    )


def _price_scale(database: duckdb.DuckDBPyConnection, buckets: int) -> tuple[tuple[float, ...], float, float]:
    """Quantile edges, and mean and standard deviation of log(1 + price)."""
    quantiles = [number / buckets for number in range(1, buckets)]
    edges, mean, std = only_row(
        database,
        "SELECT quantile_cont(price, ?::DOUBLE[]), avg(ln(1 + price)), stddev_pop(ln(1 + price)) FROM item_price "
        "WHERE price IS NOT NULL",
        [quantiles],
    )
    # Rounded, because the order in which threads add values must not change the spec.
    scale = round(float(mean or 0.0), 9), round(float(std or 0.0), 9) or 1.0
    return tuple(sorted({round(float(edge), 4) for edge in edges or []})), *scale


def _label_vocabularies(database: duckdb.DuckDBPyConnection, config: VocabularyConfig) -> None:
    """Category paths ('GROCERY > MILK', as equal names in different branches differ) and brands, by frequency."""
    database.execute(
        "CREATE TABLE item_path AS SELECT item_id, unnest(range(1, 1 + least(len(categories), "
        f"{config.category_levels}))) AS level, array_to_string(categories[1:level], ' > ') AS value FROM items"
    )
    for name, source in (("category", "item_path"), ("brand", "(SELECT brand AS value FROM items)")):
        database.execute(
            f"CREATE TABLE {name}_vocabulary AS SELECT value, row_number() OVER (ORDER BY count(*) DESC, value)"
            f"::INTEGER AS row FROM {source} WHERE value IS NOT NULL AND value <> '' GROUP BY value"
        )
    database.execute(
        "CREATE TABLE item_category AS SELECT item_id, list(row ORDER BY level) AS category_ids "
        "FROM item_path JOIN category_vocabulary USING (value) GROUP BY item_id"
    )


def _title_tokens(database: duckdb.DuckDBPyConnection, config: VocabularyConfig) -> None:
    """Create the tables of title tokens; distinct titles are streamed through the Python tokenizer in batches."""
    database.execute("CREATE TABLE title_token (title VARCHAR, position INTEGER, value VARCHAR)")
    # A separate cursor, because the insert below would end the result that is being read.
    titles = database.cursor().sql("SELECT DISTINCT title FROM items WHERE title IS NOT NULL ORDER BY title")
    for batch in titles.to_arrow_reader(20_000):
        tokens = [tokenize(title)[: config.title_length] for title in batch.column("title").to_pylist()]
        lengths = np.array([len(entry) for entry in tokens])
        repeated = batch.column("title").take(pa.array(np.repeat(np.arange(len(tokens)), lengths)))
        positions = np.concatenate([np.arange(length) for length in lengths] or [np.zeros(0, np.int64)]).astype(
            np.int32
        )
        flat = pa.array([token for entry in tokens for token in entry], pa.string())
        database.register("batch", pa.table({"title": repeated, "position": positions, "value": flat}))
        database.execute("INSERT INTO title_token SELECT title, position, value FROM batch")
        database.unregister("batch")
    database.execute(
        "CREATE TABLE token_vocabulary AS SELECT value, row_number() OVER (ORDER BY count(DISTINCT item_id) DESC, value"
        ")::INTEGER AS row FROM title_token JOIN items USING (title) GROUP BY value "
        f"HAVING count(DISTINCT item_id) >= {config.min_tokens} ORDER BY row LIMIT {config.max_tokens}"
    )
    database.execute(
        "CREATE TABLE item_title AS SELECT item_id, title_ids FROM items JOIN (SELECT title, "
        "list(row ORDER BY position) AS title_ids FROM title_token JOIN token_vocabulary USING (value) "
        "GROUP BY title) USING (title)"
    )
