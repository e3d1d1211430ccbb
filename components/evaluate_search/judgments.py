"""Judgments: the grades of items for queries, from a file of grades or clicks; or only queries."""

import dataclasses
from collections import Counter
from collections.abc import Container, Mapping
from dataclasses import dataclass, field
from typing import Any

from components.evaluate_search.click_grades import click_grades
from components.evaluate_search.config import SearchEvaluationOptions
from components.evaluate_search.joined_rows import JoinedRows, Kind
from components.evaluate_search.judgment_files import JudgmentRows, read_judgment_rows
from components.evaluate_search.position_bias import examined_counts
from components.shared.errors import InputError
from components.shared.schema.account import TableAccount
from components.shared.wording import counted

MAX_GRADE = 20.0
"""Highest grade: the gain of a grade is 2^grade - 1, so that grades of 0 to 100 would compare nothing but the best."""

_NAMED, _POSITIONS = 5, 10


@dataclass(frozen=True, kw_only=True)
class Judgments:
    """Grades by query, and what was read.

    Attributes:
        source: File or URI. kind: see Kind.
        grades: query -> item id -> grade, 0 or more; {} for a query without grades.
        account: the rows, by what became of them.
        repeated: rows of the same query and item (and position) as an earlier one; their clicks are added up.
        conflicting: of these, rows with another grade; the maximum counts.
        unknown: item ids that are not in the catalog -> their judgments, which are left out.
        examined: position -> P(examined) by which clicks were corrected, see examined_positions; None: clicks without
            positions, or no clicks.
    """

    source: str
    kind: Kind
    grades: Mapping[str, Mapping[str, float]]
    account: TableAccount
    repeated: int = 0
    conflicting: int = 0
    unknown: Mapping[str, int] = field(default_factory=dict)
    examined: Mapping[int, float] | None = None

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
            what = "query and item" if self.examined is None else "query, item and position"
            found.append(f"{counted(self.repeated, 'row')} repeat a {what}: their clicks are added up")
        elif self.repeated:
            differing = f", {self.conflicting:,} of them with another grade: the maximum counts"
            found.append(f"{counted(self.repeated, 'row')} repeat a query and item{differing * bool(self.conflicting)}")
        if self.unknown:
            found.append(
                f"{counted(sum(self.unknown.values()), 'judgment')} of {counted(len(self.unknown), 'item')} that are "
                f"not in the catalog are left out: {_some(self.unknown)}"
            )
        if self.kind == "clicks":
            found.append(f"grades are made of clicks{self._bias()}")
        return found

    def _bias(self) -> str:
        favoured = "items at the top get more clicks, so the figures favour the search that collected them"
        if self.examined is None:
            return f": the positions of the items are not known, and {favoured}"
        if not self.examined:
            return f": no clicked item was shown at several positions for a query, which a correction needs; {favoured}"
        first = list(self.examined.items())[:_POSITIONS]
        return ", corrected by how likely a position is examined: " + ", ".join(f"{at}: {p:.2f}" for at, p in first)


def read_judgments(source: str, options: SearchEvaluationOptions) -> Judgments:
    """Read judgments (query, item_id, grade), clicks (query, item_id, clicks[, impressions, position]) or queries.

    With a position, from 1, a row has the clicks and impressions of an item there; without impressions each row is one
    showing, and clicks are 0 or 1.

    Args:
        source: File, folder, URI or glob of CSV, JSON or Parquet; other names of the columns: judgment_files.ALIASES.
        options: How clicks become grades.

    Raises:
        InputError: the source cannot be read, has no row or no valid one, or has a grade above MAX_GRADE; or rows with
            positions are no showings.
        SchemaError: a column is missing.
    """
    raw = read_judgment_rows(source)
    kind = _kind(raw, source)
    rows = JoinedRows(kind, raw)
    account = rows.account()
    if not rows.items:
        reasons = ", ".join(f"{reason}: {lost}" for reason, lost in account.rejected.items())
        raise InputError(f"no row of judgments '{source}' is valid ({reasons})", _fix(kind, "position" in raw.columns))
    examined = rows.examined(source)
    grades = {query: _grades(items, kind, options, examined or {}) for query, items in rows.items.items()}
    highest = max((grade for items in grades.values() for grade in items.values()), default=0.0)
    if highest > MAX_GRADE:
        raise InputError(
            f"judgments '{source}' have grade {highest:g}, above {MAX_GRADE:g}",
            "give grades of a scale such as 0 to 3: the gain of a grade is 2^grade - 1",
        )
    return Judgments(
        source=source, kind=kind, grades=grades, account=account, repeated=rows.repeated, conflicting=rows.conflicting,
        examined=examined,
    )  # fmt: skip


def _kind(raw: JudgmentRows, source: str) -> Kind:
    raw.require(source, "query")
    if "grade" in raw.columns or ("item_id" in raw.columns and "clicks" not in raw.columns):
        raw.require(source, "item_id", "grade")
        return "grades"
    if "clicks" in raw.columns:
        raw.require(source, "item_id")
        return "clicks"
    return "queries"


def _fix(kind: Kind, placed: bool) -> str:
    numbers = {"grades": "a grade of 0 or more", "clicks": "a number of clicks", "queries": ""}[kind]
    numbers += ", impressions and a position from 1" * placed
    return f"give each row a query, an item id and {numbers}" if numbers else "give each row a query"


def _some(names: Mapping[str, int]) -> str:
    more = f" and {len(names) - _NAMED:,} more" if len(names) > _NAMED else ""
    return ", ".join(list(names)[:_NAMED]) + more


def _grades(
    items: Mapping[str, Any], kind: Kind, options: SearchEvaluationOptions, examined: Mapping[int, float]
) -> dict[str, float]:
    if kind == "clicks":
        counts = {name: examined_counts(shown, examined) for name, shown in items.items()}
        return click_grades(counts, options.impression_prior, options.click_prior)
    return dict(items)
