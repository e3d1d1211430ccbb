"""The data page: result, findings and plots."""

import math
from typing import Any

import numpy as np
from matplotlib.axis import Axis
from matplotlib.dates import AutoDateLocator, ConciseDateFormatter
from matplotlib.ticker import LogLocator, NullFormatter

from components.shared.report.page import COLOURS, Page, Tone, new_figure
from components.shared.wording import counted
from components.validate_data.findings import Context, Finding
from components.validate_data.tables import Tables

_TONES: dict[str, Tone] = {"error": "bad", "warning": "warning", "info": "neutral"}
_PRICE_BINS = 40
_LONGEST_SESSION = 60
"""Sessions with more events share the last bar."""
_POPULARITY_POINTS = 150


def build_page(context: Context, findings: list[Finding]) -> Page:
    """Build the page; the plots read the temporary count tables created by `profile`."""
    statistics = context.statistics
    column = statistics["tables"]["events"]["columns"]["timestamp"]
    span = f"{str(column['min'])[:10]} to {str(column['max'])[:10]}" if column["count"] else "no events"
    page = Page("Data validation", f"{counted(statistics['tables']['events']['rows'], 'event')}, {span}")
    _verdict(page, statistics, findings)
    _findings(page, findings)
    if column["count"]:
        _time(page, statistics)
        _mix(page, statistics)
        _popularity(page, context.tables)
        _prices(page, context.tables, statistics)
        _sessions(page, context.tables)
    _columns(page, statistics)
    _account(page, context)
    _previous(page, context)
    return page


def schema_page(findings: list[Finding]) -> Page:
    """Build the page for tables whose schema does not match the data contract."""
    page = Page("Data validation", "The schema does not match the data contract; nothing else was checked")
    _findings(page, findings)
    return page


def _verdict(page: Page, statistics: dict[str, Any], findings: list[Finding]) -> None:
    errors = sum(finding.level == "error" for finding in findings)
    warnings = sum(finding.level == "warning" for finding in findings)
    page.section("Verdict")
    page.badge("verdict", "refused" if errors else "accepted", "bad" if errors else "good")
    page.badge("errors", errors, "bad" if errors else "good")
    page.badge("warnings", warnings, "warning" if warnings else "good")
    page.badge("events", statistics["tables"]["events"]["rows"])
    page.badge("users with events", statistics["users"]["distinct"])
    page.badge("items with events", statistics["items"]["distinct"])
    page.badge("items in catalog", statistics["tables"]["items"]["rows"])


def _findings(page: Page, findings: list[Finding]) -> None:
    page.section("Findings", "Only errors stop the pipeline.")
    ordered = sorted(findings, key=lambda finding: list(_TONES).index(finding.level))
    rows = [[f.level, f.rule, f.column, f.message, f.fix, "\n".join(f.examples) or None] for f in ordered]
    tones: dict[int, Tone] = {
        index: _TONES[finding.level] for index, finding in enumerate(ordered) if finding.level != "info"
    }
    page.table(["level", "rule", "column", "what", "how to fix it", "examples"], rows, tones)


def _time(page: Page, statistics: dict[str, Any]) -> None:
    days = np.array(list(statistics["events_per_day"]), dtype="datetime64[D]")
    counts = list(statistics["events_per_day"].values())
    figure = new_figure()
    axes = figure.subplots()
    if len(days) > 90:
        axes.fill_between(days, counts, color=COLOURS[0], alpha=0.25, linewidth=0)
        axes.plot(days, counts, color=COLOURS[0], linewidth=1)
    else:
        axes.bar(days, counts, color=COLOURS[0])
    locator = AutoDateLocator(minticks=2)
    axes.xaxis.set_major_locator(locator)
    axes.xaxis.set_major_formatter(ConciseDateFormatter(locator))
    axes.set_ylim(bottom=0)
    axes.set_ylabel("events")
    page.section("Events over time").figure(figure, "Events per day (UTC)")


def _mix(page: Page, statistics: dict[str, Any]) -> None:
    mix = sorted(statistics["event_mix"].items(), key=lambda entry: entry[1])
    figure = new_figure(height=0.6 + 0.35 * len(mix))
    axes = figure.subplots()
    bars = axes.barh([name for name, _ in mix], [count for _, count in mix], color=COLOURS[0])
    axes.bar_label(bars, labels=[f" {count:,}" for _, count in mix], fontsize=8)
    axes.margins(x=0.15)
    page.section("Event mix").figure(figure, "Events by type")


def _popularity(page: Page, tables: Tables) -> None:
    ranked = "SELECT n, row_number() OVER (ORDER BY n DESC) AS rank FROM item_counts"
    # One point per step of the logarithm of the rank: at most about 150 points, regardless of the number of items.
    step = f"floor(ln(rank) * {_POPULARITY_POINTS} / ln(greatest(2, (SELECT count(*) FROM item_counts))))"
    points = tables.rows(f"SELECT min(rank) AS r, max(n) FROM ({ranked}) GROUP BY {step} ORDER BY r")
    if not points:
        return
    figure = new_figure()
    axes = figure.subplots()
    axes.loglog([rank for rank, _ in points], [n for _, n in points], marker=".", markersize=3)
    _plain_logarithmic(axes.xaxis)
    _plain_logarithmic(axes.yaxis)
    axes.set_xlabel("rank of the item")
    axes.set_ylabel("events")
    page.section(
        "Item popularity",
        "A straight line is the usual long tail; a flat line means that items hardly differ in popularity.",
    )
    page.figure(figure, "Events of each item, most popular first (both axes logarithmic)")


def _plain_logarithmic(axis: Axis, steps: tuple[int, ...] = (1,)) -> None:
    """Label ticks as 1,000 instead of powers of ten: easier to read, and no typesetting engine is needed."""
    axis.set_major_locator(LogLocator(subs=steps))
    axis.set_major_formatter("{x:,g}")
    axis.set_minor_formatter(NullFormatter())


def _prices(page: Page, tables: Tables, statistics: dict[str, Any]) -> None:
    priced = [name for name in ("events", "items") if statistics["tables"][name]["columns"]["price"].get("quantiles")]
    if not priced:
        return
    figure = new_figure()
    axes = figure.subplots()
    for name in priced:
        quantiles = statistics["tables"][name]["columns"]["price"]["quantiles"]
        low, high = max(quantiles["0.01"], 0.01), max(quantiles["0.99"], 0.02)
        if low >= high:
            continue
        width = math.log(high / low) / _PRICE_BINS
        bucket = f"floor(ln(price::DOUBLE / {low}) / {width})"
        inside = f"isfinite(price) AND price >= {low} AND price <= {high}"
        found = dict(
            tables.rows(
                f"SELECT least({bucket}, {_PRICE_BINS - 1})::INT, count(*) FROM {name} WHERE {inside} GROUP BY 1"
            )
        )
        total = sum(found.values()) or 1
        edges = [low * math.exp(width * i) for i in range(_PRICE_BINS + 1)]
        axes.stairs([found.get(i, 0) / total for i in range(_PRICE_BINS)], edges, fill=True, alpha=0.45, label=name)
    axes.set_xscale("log")
    _plain_logarithmic(axes.xaxis, (1, 2, 5))
    axes.set_xlabel("price (1st to 99th percentile)")
    axes.set_ylabel("share")
    if axes.get_legend_handles_labels()[0]:
        axes.legend(fontsize=8, frameon=False)
    page.section("Prices").figure(figure, "Prices paid in events, and prices of the catalog")


def _sessions(page: Page, tables: Tables) -> None:
    sizes = tables.rows(
        f"SELECT least(n, {_LONGEST_SESSION}) AS size, count(*) FROM session_counts GROUP BY 1 ORDER BY 1"
    )
    if not sizes:
        return
    figure = new_figure()
    axes = figure.subplots()
    axes.bar([size for size, _ in sizes], [count for _, count in sizes], width=0.9)
    axes.set_xlabel(f"events in the session ({_LONGEST_SESSION} or more in the last bar)")
    axes.set_ylabel("sessions")
    page.section("Sessions and baskets").figure(figure, "Number of events per session or basket")


def _columns(page: Page, statistics: dict[str, Any]) -> None:
    page.section("Columns")
    rows = []
    for table, found in statistics["tables"].items():
        for name, column in found["columns"].items():
            quantiles = column.get("quantiles") or {}
            least, most = column.get("min", column.get("shortest")), column.get("max", column.get("longest"))
            cells = [f"{table}.{name}", column["count"], f"{column['null_rate']:.1%}", column.get("distinct")]
            rows.append([*cells, least, quantiles.get("0.5"), most])
    page.table(["column", "values", "null", "distinct (approx.)", "least", "median", "most"], rows)


def _account(page: Page, context: Context) -> None:
    """What was read, and what of it was rejected or not understood, with the most common values."""
    if context.account:
        page.section(
            "Account of the source", "Rows read are those kept, those left out by the mapping and those rejected."
        )
        rows = [
            [table, one.files or None, sum(one.skipped.values()), one.rows, one.kept,
             one.ignored.rows if one.ignored else 0, sum(lost.rows for lost in one.rejected.values()),
             sum(lost.rows for lost in one.unread.values())]
            for table, one in context.account.items()
        ]  # fmt: skip
        columns = ["table", "files read", "files not read", "rows read", "kept", "left out", "rejected",
                   "values not read"]  # fmt: skip
        page.table(columns, rows)
    lost = [
        [f"{table}: {name}", one.rows, ", ".join(f"{value} ({times:,})" for value, times in one.values.items())]
        for table, account in context.account.items()
        for name, one in (
            *account.rejected.items(),
            *((f"{name} is unknown", one) for name, one in account.unread.items()),
        )
    ] or [[reason, count, ""] for reason, count in context.rejected.items()]
    if lost:
        page.section("Rows rejected, and values not read")
        page.table(["reason", "rows", "most common values"], lost)
    skipped = [[table, reason, files, ", ".join(one.skipped_names.get(reason, ()))]
               for table, one in context.account.items() for reason, files in one.skipped.items()]  # fmt: skip
    if skipped:
        page.section("Files not read").table(["table", "reason", "files", "such as"], skipped)


def _previous(page: Page, context: Context) -> None:
    if context.previous is None:
        return
    before, now = context.previous["tables"], context.statistics["tables"]
    rows = [
        [name, before[name]["rows"], now[name]["rows"], now[name]["rows"] / max(before[name]["rows"], 1)]
        for name in now
    ]
    page.section("Comparison with the previous run").table(["table", "rows before", "rows now", "ratio"], rows)
