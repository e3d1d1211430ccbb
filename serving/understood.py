"""What an answer tells of a search: how the query was understood, what was left out of it, and what it found."""

from typing import Any

from components.shared.search.searching import Found
from components.shared.search.understanding import Understanding


def told(query: Understanding | None, found: Found | None, answered: bool) -> dict[str, Any]:
    """The field `search` of an answer; {} without a query.

    Args:
        query: What was understood.
        found: What it found; None for a query without words.
        answered: Whether the answer has items.
    """
    if query is None:
        return {}
    said = query.told()
    if found is None:
        return said
    if (found.rank_class == 2).any():
        # A code is known, whether or not it is also a word of some item.
        said.pop("unknown", None)
        said["by"] = "code or title"
    elif not len(found.item):
        said["by"] = "meaning" if answered else "nothing"
    elif found.by != "words":
        said["by"] = found.by
    if found.relaxed:
        said["relaxed"] = list(found.relaxed)
    return said


def search_warnings(search: dict[str, Any]) -> list[str]:
    """Sentences for people, of what a search left out."""
    sentences = []
    if unknown := search.get("unknown"):
        sentences.append(f"query: no item has {_listed(unknown)}")
    relaxed = [one for one in search.get("relaxed", []) if one != "price"]
    if relaxed:
        sentences.append(f"query: no item that passes the filters has all of it; left out: {_listed(relaxed)}")
    if "price" in search.get("relaxed", []):
        sentences.append("query: no item has a price within its bounds, which were left out")
    if search.get("by") == "meaning":
        sentences.append("query: no item that passes the filters has a word of it; ranked by what the words mean")
    if search.get("by") == "nothing" and not unknown:
        sentences.append("query: no item that passes the filters has a word of it")
    return sentences


def _listed(words: list[str]) -> str:
    return ", ".join(f"'{word}'" for word in words)
