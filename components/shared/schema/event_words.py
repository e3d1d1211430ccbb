"""Words of shops and trackers for the event types of the data contract."""

import itertools
import re

from components.shared.schema.tables import EventType

_WORDS: dict[EventType, tuple[str, ...]] = {
    "search": ("searched", "query", "site search", "view search results"),
    "impression": ("impressions", "exposure", "expose", "show", "shown", "view item list", "product list viewed"),
    "view": (
        "pv", "page view", "product view", "product viewed", "view item", "view content", "viewed", "detail",
        "detail view", "click", "clicks", "clicked", "select item", "visit", "open",
    ),
    "cart": (
        "add to cart", "added to cart", "add cart", "cart add", "product added", "add to basket", "basket", "carts",
        "fav", "favorite", "favourite", "add to wishlist", "wishlist",
    ),
    "purchase": (
        "buy", "buys", "bought", "order", "orders", "ordered", "order completed", "purchased", "transaction", "sale",
        "checkout completed", "paid", "conversion",
    ),
}  # fmt: skip


def event_type_of(word: str) -> EventType | None:
    """The event type that a shop probably means by a word.

    >>> event_type_of("AddToCart"), event_type_of("pv"), event_type_of("hover")
    ('cart', 'view', None)
    """
    return _KNOWN.get(re.sub(r"[\W_]", "", word.lower()))


def event_words() -> dict[str, EventType]:
    """Every spelling -> event type: `add to cart`, `add_to_cart`, `add-to-cart` and `addtocart`."""
    spelled: dict[str, EventType] = {
        between.join(words.split()): kind
        for (kind, all_words), between in itertools.product(_WORDS.items(), ("", " ", "_", "-"))
        for words in all_words
    }
    return dict(sorted(spelled.items()))


_KNOWN: dict[str, EventType] = {
    "".join(words.split()): kind for kind, all_words in _WORDS.items() for words in all_words
}
