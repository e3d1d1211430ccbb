"""What an answer tells of a search, and what rules did, in sentences for people: fields of the predictor's answers."""

from collections.abc import Mapping, Sequence
from typing import Any


def understood_sentences(search: Mapping[str, Any]) -> list[str]:
    """What a query was understood as; nothing for a query that was taken as it is written.

    >>> understood_sentences({"text": "milk", "corrected": {"milc": "milk"}, "price_max": 5.0})
    ["showing results for 'milk' instead of 'milc'", 'price up to 5']

    Args:
        search: See serving.answers.Answer.
    """
    said = [
        f"showing results for '{meant}' instead of '{typed}'" for typed, meant in search.get("corrected", {}).items()
    ]
    said += [f"'{text}' is also {_either(others)}" for text, others in search.get("synonyms", {}).items()]
    low, high = search.get("price_min"), search.get("price_max")
    if low is not None and high is not None:
        said.append(f"price from {low:g} to {high:g}")
    elif high is not None:
        said.append(f"price up to {high:g}")
    elif low is not None:
        said.append(f"price from {low:g}")
    if search.get("cheap"):
        said.append("low prices first")
    said += [f"without '{word}'" for word in search.get("without", [])]
    said += [f"{name.get('attribute') or name['kind']} {name['name']}" for name in search.get("names", [])]
    if search.get("by") == "code or title":
        said.append("this is an item's code or title")
    return said


def rules_sentences(answer: Mapping[str, Any]) -> list[str]:
    """What rules of the shop did to an answer; nothing if none did.

    >>> rules_sentences({"rules": ["summer", "sale"], "redirect": "/sale"})
    ['summer, sale', 'opens /sale']

    Args:
        answer: See serving.answers.Answer.
    """
    said = [", ".join(answer["rules"])] if answer.get("rules") else []
    return said + ([f"opens {answer['redirect']}"] if answer.get("redirect") else [])


def _either(texts: Sequence[str]) -> str:
    return " or ".join(f"'{text}'" for text in texts)


def facet_text(facet: Mapping[str, Any]) -> str:
    """The values or price bands of a facet with their numbers of items.

    >>> facet_text({"values": [{"value": "MILK", "count": 3}], "others": 2, "missing": 1})
    'MILK (3), 2 others, none (1)'

    Args:
        facet: See serving.answers.Answer.
    """
    said = [f"{one['value']} ({one['count']:,})" for one in facet.get("values", [])]
    said += [f"{band['min']:g} to {band['max']:g} ({band['count']:,})" for band in facet.get("bands", [])]
    said += [f"{facet['others']:,} others"] if facet.get("others") else []
    said += [f"none ({facet['missing']:,})"] if facet.get("missing") else []
    return ", ".join(said) or "no values"
