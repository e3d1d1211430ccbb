"""Names that shops and data sets give to the columns of the data contract."""

import re
from collections.abc import Iterable

_WORDS: dict[str, dict[str, str]] = {
    "events": {
        "user_id": "user, visitor id, visitor, customer id, customer, shopper id, client id, member id, member, uid, "
        "user pseudo id, anonymous id, account id, buyer id, household id, email, reviewer id, author",
        "item_id": "item, product id, product, item code, sku, lineitem sku, aid, asin, parent asin, article id, "
        "article, goods id, stock code, variant id, offer id, pid, movie id, nm id",
        "event_type": "event, event name, type, action, action type, behavior type, behavior, behaviour, interaction, "
        "activity, verb",
        "timestamp": "time, ts, datetime, date time, date, event time, event timestamp, unix time, created at, "
        "created, order date, purchase date, purchase timestamp, invoice date, t dat, occurred at",
        "query": "search term, search query, search text, keyword, keywords, search phrase, q",
        "session_id": "session, user session, visit id, order id, invoice no, invoice, basket id, cart id",
        "quantity": "qty, units, count, lineitem quantity, number of items",
        "price": "unit price, item price, lineitem price, sale price, selling price",
        "rating": "stars, overall, star rating",
        "request_id": "",
    },
    "items": {
        "item_id": "item, id, product id, product, sku, asin, parent asin, article id, goods id, stock code, "
        "variant id, offer id, pid, handle, product code",
        "title": "name, product name, item name, product title, prod name, description",
        "description": "long description, short description, product description, detail desc, body html, body, summary",
        "categories": "category, category path, category code, product type, product category, taxonomy, "
        "main category, type, department",
        "brand": "brand name, vendor, manufacturer",
        "price": "sale price, list price, unit price, variant price, actual price",
        "available": "in stock, availability, stock, inventory, active, is available, quantity",
        "created_at": "created, published at, release date, date added, first available, launch date",
        "attributes": "properties, features, specs",
        "content_vector": "embedding, vector",
        "version": "updated at, modified at, last updated, last modified",
    },
    "users": {"user_id": "user, id, customer id, visitor id, member id, uid", "attributes": "properties, traits"},
}

_ROWS = ("items", "products", "lineitems", "events", "orderlines")
"""Lists of objects whose fields may be meant."""


def guess_columns(table: str, columns: Iterable[str]) -> dict[str, str]:
    """Contract column -> the column or path that probably holds it, for those that have another name.

    >>> guess_columns("events", ["visitorid", "itemid", "event", "ts"])
    {'user_id': 'visitorid', 'item_id': 'itemid', 'event_type': 'event', 'timestamp': 'ts'}

    Args:
        table: events, items or users.
        columns: Columns and paths of a source.
    """
    columns = list(columns)
    keys: dict[str, str] = {}
    for column in columns:
        for key in _keys(column):
            keys.setdefault(key, column)
    found: dict[str, str] = {}
    for ours, words in _WORDS[table].items():
        if ours in columns:
            continue
        spelled = map(_folded, [ours, *filter(None, words.split(", "))])
        column = next((keys[word] for word in spelled if word in keys), None)
        if column is None and ours == "timestamp":
            endings = [one for one in columns if re.search(r"(?i)(_|\b)(ts|time|date|timestamp|at)$", one)]
            column = endings[0] if len(endings) == 1 else None
        if column is not None and column not in found.values():
            found[ours] = column
    return found


def _keys(column: str) -> list[str]:
    """What a column may be called: `product.id` is a product id, and `items[].sku` a sku."""
    outer, is_list, field = column.partition("[].")
    if is_list:
        return [_folded(field)] if _folded(outer) in _ROWS else []
    return [_folded(column)]


def _folded(words: str) -> str:
    return re.sub(r"[\W_]", "", words.lower())


def suggestion(table: str, ours: str, columns: Iterable[str]) -> str:
    """The column that probably holds a contract column; 'theirs' if there is none."""
    return guess_columns(table, columns).get(ours, "theirs")
