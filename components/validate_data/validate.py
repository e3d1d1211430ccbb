"""Validate the tables of ingest_events: statistics as JSON, a report page, and an error if a rule fails."""

from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import duckdb

from components.shared.errors import DataError, InputError
from components.shared.progress import report
from components.shared.report.page import Page
from components.shared.schema.account import read_account
from components.shared.schema.data_options import ValidationOptions
from components.shared.schema.tables import schema_hash
from components.shared.storage import read_json, write_json
from components.shared.version import VERSION
from components.shared.wording import counted
from components.validate_data.findings import Context, Finding
from components.validate_data.profile import VERSION as LAYOUT
from components.validate_data.profile import profile
from components.validate_data.report import build_page, schema_page
from components.validate_data.rules import RULES
from components.validate_data.tables import SCHEMAS, opened, rejected_reasons, schema_problem

STAGE = "validate_data"


@dataclass(frozen=True, kw_only=True)
class ValidationResult:
    """Result of a validation without errors."""

    events: int
    """Rows."""
    items: int
    """Rows."""
    users: int
    """Rows."""
    findings: tuple[Finding, ...]
    """Findings in the order of the rules."""
    statistics: Path
    """The JSON file."""
    html: Path
    """The page."""

    def metrics(self) -> dict[str, float]:
        """Counts by metric name."""
        warnings = sum(finding.level == "warning" for finding in self.findings)
        return {"events": self.events, "items": self.items, "users": self.users, "warnings": warnings}

    def metadata(self) -> dict[str, str | int]:
        """Metadata of the statistics artifact."""
        return {"rows": self.events, "schema_hash": schema_hash(*SCHEMAS.values()), "code_version": VERSION}


def statistics_file(path: Path) -> Path:
    """Path of the statistics: `path` if it ends in .json, else `statistics.json` in this folder."""
    return path if path.suffix == ".json" else path / "statistics.json"


def validate(
    events: Path,
    items: Path,
    users: Path,
    statistics: Path,
    html: Path,
    options: ValidationOptions | None = None,
    rejected: Path | None = None,
    now: datetime | None = None,
) -> ValidationResult:
    """Check ingested data against every rule.

    The statistics and the page are written before an error is raised, so that the data can be inspected.

    Args:
        events: Folder of Parquet, schema EVENTS.
        items: Folder of Parquet, schema ITEMS.
        users: Folder of Parquet, schema USERS.
        statistics: Output of the statistics: a .json file, or a folder for `statistics.json`.
        html: Output of the page.
        options: Thresholds and the statistics of an earlier run; None: the defaults.
        rejected: The `rejected` output of ingest_events.
        now: Current time, with a time zone; None: the system time.

    Raises:
        InputError: a folder has no Parquet file, a file is corrupt, or the disk is full.
        DataError: a rule found an error.
    """
    report(STAGE, 0.0, "reading")
    folders = {"events": events, "items": items, "users": users}
    options = options or ValidationOptions()
    earlier = _previous(options.previous_statistics)
    target = statistics_file(statistics)
    findings = [finding for name, folder in folders.items() for finding in _schema(name, folder)]
    if findings:
        _write({"version": LAYOUT}, findings, schema_page(findings), target, html)
        raise _refusal(findings, html)
    found, findings, page = _judge(folders, rejected, options, earlier, now or datetime.now(UTC))
    _write(found, findings, page, target, html)
    if any(finding.level == "error" for finding in findings):
        raise _refusal(findings, html)
    report(STAGE, 1.0, counted(len(findings), "finding"))
    rows = {name: found["tables"][name]["rows"] for name in SCHEMAS}
    return ValidationResult(**rows, findings=tuple(findings), statistics=target, html=html)


def _judge(
    folders: dict[str, Path], rejected: Path | None, options: ValidationOptions, earlier: dict[str, Any] | None,
    now: datetime,
) -> tuple[dict[str, Any], list[Finding], Page]:  # fmt: skip
    """Compute the statistics, apply every rule and build the page."""
    try:
        with opened(folders) as tables:
            found = profile(tables)
            report(STAGE, 0.5, "checking")
            refused = rejected_reasons(tables, rejected) if rejected else {}
            context = Context(
                tables=tables, statistics=found, options=options, now=now, previous=earlier, rejected=refused,
                account=read_account(rejected) if rejected else {},
            )  # fmt: skip
            findings = [finding for rule in RULES for finding in rule(context)]
            report(STAGE, 0.8, "drawing")
            return found, findings, build_page(context, findings)
    except duckdb.Error as error:
        raise InputError(
            f"the tables cannot be read: {str(error).splitlines()[0]}",
            "a Parquet file is damaged or the disk is full; run ingest_events again",
        ) from error


def _previous(path: str) -> dict[str, Any] | None:
    if not path:
        return None
    file = statistics_file(Path(path))
    if not file.exists():
        raise InputError(f"data.validation.previous_statistics: {file} does not exist",
                         "give the statistics of an earlier run, or none")  # fmt: skip
    found = read_json(file)
    if not isinstance(found, dict) or found.get("version") != LAYOUT or "tables" not in found:
        raise InputError(
            f"data.validation.previous_statistics: {path} is not of layout {LAYOUT}",
            "give the statistics of an earlier, successful validate_data run, or none",
        )
    return found


def _schema(name: str, folder: Path) -> list[Finding]:
    problem = schema_problem(folder, name)
    if problem is None:
        return []
    finding = Finding(
        level="error",
        rule="schema",
        column=f"{name}.*",
        message=problem.headline,
        count=1,
        share=1.0,
        fix=problem.fix,
    )
    return [finding]


def _write(found: dict[str, Any], findings: list[Finding], page: Page, target: Path, html: Path) -> None:
    write_json(target, {**found, "findings": [finding.as_dict() for finding in findings]})
    page.write(html)


def _refusal(findings: list[Finding], html: Path) -> DataError:
    errors = [finding for finding in findings if finding.level == "error"]
    first = errors[0]
    more = f" (and {counted(len(errors) - 1, 'more error')})" if len(errors) > 1 else ""
    rows = "".join(f"\n    {example}" for example in first.examples)
    shown = f"; the first rows are:{rows}\n " if rows else ";"
    return DataError(
        f"{first.column} violates the rule {first.rule}: {first.message}{more}",
        f"{first.fix}{shown} see all findings in {html}",
    )
