"""What a rule may read, what it is allowed to tolerate, and what it finds."""

from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from datetime import datetime
from typing import Any, Literal

from components.validate_data.tables import Tables

Level = Literal["info", "warning", "error"]


@dataclass(frozen=True, kw_only=True)
class ValidationConfig:
    """Thresholds; shares are between 0 and 1."""

    now: datetime | None = None
    """What counts as the present; None: the clock. With a time zone."""
    clock_skew_hours: float = 24.0
    """A timestamp this far ahead of now is not yet in the future: shops' clocks and time zones differ."""
    future_error: float = 0.001
    """Share of events in the future that is an error; any below it is a warning."""
    min_events: int = 2
    """Fewer events are an error."""
    min_users: int = 2
    """Fewer users are an error."""
    min_items: int = 2
    """Fewer items are an error."""
    min_days: int = 2
    """Events on fewer days are a warning; events at one single moment are an error (splits are by time)."""
    null_warning: float = 0.5
    """Share of nulls in a useful column (price, title, ...) that is a warning."""
    max_price: float = 1_000_000.0
    """In the shop's currency; more is a warning."""
    max_quantity: float = 100_000.0
    """Units (or grams, or millilitres) of one event; more is a warning."""
    duplicate_warning: float = 0.01
    """Share of events that repeat another one in every column that is a warning."""
    duplicate_error: float = 0.5
    """The same as an error: the source was probably read more than once."""
    orphan_warning: float = 0.01
    """Share of events whose item is not in the catalog that is a warning."""
    orphan_error: float = 0.2
    """The same as an error."""
    rejected_warning: float = 0.01
    """Share of event rows that ingest_events put aside that is a warning."""
    rejected_error: float = 0.2
    """The same as an error."""
    shrink_warning: float = 0.5
    """A table below this multiple of its size in the previous run is a warning; so is one above the inverse."""
    shrink_error: float = 0.1
    """Below this multiple it is an error."""


@dataclass(frozen=True, kw_only=True)
class Finding:
    """One thing that a rule noticed."""

    level: Level
    rule: str
    column: str
    """Table and column, like `events.price`."""
    message: str
    """Description in one sentence."""
    count: int
    """Rows concerned."""
    share: float
    """Of the table's rows."""
    threshold: float = 0.0
    """What was allowed: a share, or the count that the rule names."""
    fix: str = ""
    """How to fix it."""
    examples: tuple[str, ...] = ()
    """Up to three rows as JSON text."""

    def as_dict(self) -> dict[str, Any]:
        """For the statistics JSON."""
        return {**asdict(self), "examples": list(self.examples), "share": round(self.share, 6)}


@dataclass(frozen=True, kw_only=True)
class Context:
    """What every rule may read."""

    tables: Tables
    statistics: dict[str, Any]
    config: ValidationConfig
    previous: dict[str, Any] | None = None
    """The statistics of the previous run."""
    rejected: dict[str, int] = field(default_factory=dict)
    """Reason -> event rows that ingest_events put aside."""

    def rows(self, table: str) -> int:
        """Rows of a table."""
        return self.statistics["tables"][table]["rows"]

    def breaches(
        self, rule: str, column: str, condition: str, limits: tuple[float, float | None], fix: str
    ) -> Iterator[Finding]:
        """A finding if rows of the column's table meet `condition`.

        Args:
            rule: Name of the rule.
            column: `table.column`.
            condition: SQL over the table.
            limits: Shares above which it is a warning and an error (None: never an error).
            fix: How to fix it.
        """
        table = column.partition(".")[0]
        count = self.tables.row(f"SELECT count(*) FROM {table} WHERE {condition}")[0]
        yield from self.graded(rule, column, count, limits, fix, f"{table} WHERE {condition}")

    def graded(
        self, rule: str, column: str, count: int, limits: tuple[float, float | None], fix: str, examples: str = ""
    ) -> Iterator[Finding]:
        """A finding about `count` rows, whose level follows from their share; `examples` is what follows FROM."""
        table = column.partition(".")[0]
        share = count / max(self.rows(table), 1)
        warning, error = limits
        if not count or (share <= warning and (error is None or share <= error)):
            return
        level: Level = "error" if error is not None and share > error else "warning"
        threshold = error if level == "error" and error is not None else warning
        yield Finding(
            level=level,
            rule=rule,
            column=column,
            message=f"{count:,} rows ({share:.2%}) of {table}; allowed {threshold:.2%}",
            count=count,
            share=share,
            threshold=threshold,
            fix=fix,
            examples=self.tables.examples(examples) if examples else (),
        )
