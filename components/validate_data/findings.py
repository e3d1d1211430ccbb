"""Inputs and findings of the validation rules."""

from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from datetime import datetime
from typing import Any, Literal

from components.shared.schema.account import Account
from components.shared.schema.data_options import ValidationOptions
from components.shared.wording import counted
from components.validate_data.tables import Tables

Level = Literal["info", "warning", "error"]


@dataclass(frozen=True, kw_only=True)
class Finding:
    """A finding of a rule."""

    level: Level
    rule: str
    column: str
    """Table and column, like `events.price`."""
    message: str
    """Description in one sentence."""
    count: int
    """Number of affected rows."""
    share: float
    """Share of the table's rows."""
    threshold: float = 0.0
    """Violated threshold: a share, or a count if the rule is about counts."""
    fix: str = ""
    """How to fix it."""
    examples: tuple[str, ...] = ()
    """Up to three rows as JSON text."""

    def as_dict(self) -> dict[str, Any]:
        """Convert to JSON values for the statistics."""
        return {**asdict(self), "examples": list(self.examples), "share": round(self.share, 6)}


@dataclass(frozen=True, kw_only=True)
class Context:
    """Inputs of the rules."""

    tables: Tables
    statistics: dict[str, Any]
    options: ValidationOptions
    now: datetime
    """Current time, with a time zone; later timestamps are in the future."""
    previous: dict[str, Any] | None = None
    """The statistics of the previous run."""
    rejected: dict[str, int] = field(default_factory=dict)
    """Reason -> number of event rows rejected by ingest_events."""
    account: Account = field(default_factory=dict)
    """What ingest_events read, and what became of it."""

    def rows(self, table: str) -> int:
        """Number of rows of a table."""
        return self.statistics["tables"][table]["rows"]

    def breaches(
        self, rule: str, column: str, condition: str, limits: tuple[float, float | None], fix: str
    ) -> Iterator[Finding]:
        """Yield a finding if too many rows of the column's table meet `condition`.

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
        """Yield a finding about `count` rows, with a level by their share; `examples` is the SQL after FROM."""
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
            message=f"{counted(count, 'row')} ({share:.2%}) of {table}; allowed {threshold:.2%}",
            count=count,
            share=share,
            threshold=threshold,
            fix=fix,
            examples=self.tables.examples(examples) if examples else (),
        )
