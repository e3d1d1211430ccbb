"""Judgments: the grades of items for queries, from a file of grades or clicks; or only queries."""

import dataclasses
import math
from collections import Counter, defaultdict
from collections.abc import Container, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any, Literal

from components.evaluate_search.click_grades import Counts, click_grades
from components.evaluate_search.config import SearchEvaluationOptions
from components.evaluate_search.judgment_files import JudgmentRows, Row, read_judgment_rows
from components.shared.errors import InputError
from components.shared.schema.account import Lost, TableAccount
from components.shared.schema.identifiers import NULL_WORDS, identifier, trimmed
from components.shared.wording import counted

Kind = Literal["grades", "clicks", "queries"]
"""What a file holds: grades; clicks, which become grades; or queries alone."""

MAX_GRADE = 20.0
"""Highest grade: the gain of a grade is 2^grade - 1, so that grades of 0 to 100 would compare nothing but the best."""

_SHOWN, _NAMED = 3, 5


@dataclass(frozen=True, kw_only=True)
class Judgments:
    """Grades by query, and what was read.

    Attributes:
        source: File or URI. kind: see Kind.
        grades: query -> item id -> grade, 0 or more; {} for a query without grades.
        account: the rows, by what became of them.
        repeated: rows of the same query and item as an earlier one; their clicks are added up.
        conflicting: of these, rows with another grade; the maximum counts.
        unknown: item ids that are not in the catalog -> their judgments, which are left out.
    """

    source: str
    kind: Kind
    grades: Mapping[str, Mapping[str, float]]
    account: TableAccount
    repeated: int = 0
    conflicting: int = 0
    unknown: Mapping[str, int] = field(default_factory=dict)

    def within(self, catalog: Container[str]) -> "Judgments":
        """The judgments of items of the catalog; all queries stay.

        Raises:
            InputError: there are judgments, but none of an item of the catalog.
        """
        unknown = Counter(name for items in self.grades.values() for name in items if name not in catalog)
        kept = {query: {name: grade for name, grade in items.items() if name in catalog}
                for query, items in self.grades.items()}  # fmt: skip
        if unknown and not any(kept.values()):
            raise InputError(
                f"no judged item of '{self.source}' is in the catalog; judged are: {_some(unknown)}",
                'give the catalog of these judgments; --mapping \'{"items.item_id": "theirs"}\' names its column',
            )
        return dataclasses.replace(self, grades=kept, unknown=unknown)

    def sentences(self) -> list[str]:
        """What a reader of the figures must know of the judgments, beside the account."""
        found = []
        if self.repeated and self.kind == "clicks":
            found.append(f"{counted(self.repeated, 'row')} repeat a query and item: their clicks are added up")
        elif self.repeated:
            differing = f", {self.conflicting:,} of them with another grade: the maximum counts"
            found.append(f"{counted(self.repeated, 'row')} repeat a query and item{differing * bool(self.conflicting)}")
        if self.unknown:
            found.append(
                f"{counted(sum(self.unknown.values()), 'judgment')} of {counted(len(self.unknown), 'item')} that are "
                f"not in the catalog are left out: {_some(self.unknown)}"
            )
        if self.kind == "clicks":
            found.append(
                "grades are made of clicks: the positions of the items are not known, and items at the top get more "
                "clicks, so the figures favour the search that collected them"
            )
        return found


def read_judgments(source: str, options: SearchEvaluationOptions) -> Judgments:
    """Read judgments (query, item_id, grade), clicks (query, item_id, clicks[, impressions]) or queries (query).

    Args:
        source: File, folder, URI or glob of CSV, JSON or Parquet; other names of the columns: judgment_files.ALIASES.
        options: How clicks become grades.

    Raises:
        InputError: the source cannot be read, has no row or no valid one, or has a grade above MAX_GRADE.
        SchemaError: a column is missing.
    """
    raw = read_judgment_rows(source)
    kind = _kind(raw, source)
    rows = _Rows(kind)
    for row in raw.rows:
        rows.add(row)
    account = rows.account(raw)
    if not rows.items:
        reasons = ", ".join(f"{reason}: {lost}" for reason, lost in account.rejected.items())
        raise InputError(f"no row of judgments '{source}' is valid ({reasons})", _fix(kind))
    grades = {query: _grades(items, kind, options) for query, items in rows.items.items()}
    highest = max((grade for items in grades.values() for grade in items.values()), default=0.0)
    if highest > MAX_GRADE:
        raise InputError(
            f"judgments '{source}' have grade {highest:g}, above {MAX_GRADE:g}",
            "give grades of a scale such as 0 to 3: the gain of a grade is 2^grade - 1",
        )
    return Judgments(
        source=source, kind=kind, grades=grades, account=account, repeated=rows.repeated, conflicting=rows.conflicting
    )


def _kind(raw: JudgmentRows, source: str) -> Kind:
    raw.require(source, "query")
    if "grade" in raw.columns or ("item_id" in raw.columns and "clicks" not in raw.columns):
        raw.require(source, "item_id", "grade")
        return "grades"
    if "clicks" in raw.columns:
        raw.require(source, "item_id")
        return "clicks"
    return "queries"


def _fix(kind: Kind) -> str:
    numbers = {"grades": "a grade of 0 or more", "clicks": "a number of clicks", "queries": ""}[kind]
    return f"give each row a query, an item id and {numbers}" if numbers else "give each row a query"


def _some(names: Mapping[str, int]) -> str:
    more = f" and {len(names) - _NAMED:,} more" if len(names) > _NAMED else ""
    return ", ".join(list(names)[:_NAMED]) + more


class _Rows:
    """Rows of a kind, converted and joined by query and item.

    Attributes:
        items: query -> item id -> its grade, or clicks and impressions.
        repeated: see Judgments. conflicting: see Judgments.
    """

    def __init__(self, kind: Kind):
        self._kind = kind
        self._rejected: dict[str, Counter[str]] = defaultdict(Counter)
        self._kept = 0
        self.items: dict[str, dict[str, Any]] = {}
        self.repeated = self.conflicting = 0

    def add(self, row: Row) -> None:
        """Add a row, or count why it is not valid."""
        query, item_id, grade, clicks, impressions = row
        asked = _query(query)
        if asked is None:
            return self._reject("query is missing", query)
        if self._kind != "queries":
            name, number = _item(item_id), grade if self._kind == "grades" else clicks
            value, column = _number(number), "grade" if self._kind == "grades" else "clicks"
            if name is None:
                return self._reject("item_id is missing", item_id)
            if value is None or value < 0:
                missing = "is missing" if number in (None, "") else "cannot be read"
                return self._reject(f"{column} {missing if value is None else 'is negative'}", number)
            self._join(self.items.setdefault(asked, {}), name, value, _number(impressions))
        elif asked in self.items:
            self.repeated += 1
        self.items.setdefault(asked, {})
        self._kept += 1

    def _join(self, items: dict[str, Any], name: str, value: float, impressions: float | None) -> None:
        before = items.get(name)
        self.repeated += before is not None
        if self._kind == "clicks":
            shown = None if impressions is None or impressions < 0 else impressions
            clicks, earlier = before or (0.0, 0.0)
            items[name] = (clicks + value, None if shown is None or earlier is None else earlier + shown)
            return
        self.conflicting += before is not None and before != value
        items[name] = value if before is None else max(before, value)

    def _reject(self, reason: str, value: Any) -> None:
        self._rejected[reason][str(value)[:80] if value not in (None, "") else ""] += 1

    def account(self, raw: JudgmentRows) -> TableAccount:
        """What became of all rows of the source."""
        rejected = {}
        for reason, values in self._rejected.items():
            shown = {value: times for value, times in values.most_common(_SHOWN) if value}
            rejected[reason] = Lost(rows=values.total(), values=shown)
        rejected |= {reason: Lost(rows=lines) for reason, lines in raw.malformed.items()}
        return TableAccount(
            rows=len(raw.rows) + raw.malformed.total(), kept=self._kept, rejected=rejected, files=raw.files,
            skipped=dict(raw.skipped), skipped_names=raw.names,
        )  # fmt: skip


def _grades(items: Mapping[str, Any], kind: Kind, options: SearchEvaluationOptions) -> dict[str, float]:
    if kind == "clicks":
        counts: Mapping[str, Counts] = items
        return click_grades(counts, options.impression_prior, options.click_prior)
    return dict(items)


def _query(value: Any) -> str | None:
    """The query without blanks around it; None for a missing one. A query may be a word for a missing value."""
    text = trimmed(value) if isinstance(value, str) else identifier(value)
    return _whole(text) if isinstance(text, str) and text not in ("", "\\N") else None


def _item(value: Any) -> str | None:
    """The item id as ingest_events reads it; None for a missing one."""
    name = identifier(value)
    return _whole(name) if isinstance(name, str) and name and name.lower() not in NULL_WORDS else None


def _whole(text: str) -> str:
    """A text without halves of characters, which JSON can escape and no encoding can write."""
    return text.encode("utf-8", "replace").decode("utf-8")


def _number(value: Any) -> float | None:
    """A finite number; None for anything else."""
    if not isinstance(value, bool | int | float | Decimal | str):
        return None
    try:
        number = float(trimmed(value) if isinstance(value, str) else value)
    except (ValueError, OverflowError):
        return None
    return number if math.isfinite(number) else None
