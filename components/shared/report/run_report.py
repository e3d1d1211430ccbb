"""The report of a run: example answers, quality, data, compiled model, serving proof and durations."""

import datetime
import platform
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from components.shared.cgroup import usable_cpus, usable_memory
from components.shared.evaluation.decision import read_decision
from components.shared.release.proof import read_proof
from components.shared.report import evaluation_sections as sections
from components.shared.report import plots
from components.shared.report.event_account import event_steps
from components.shared.report.page import Page, Tone
from components.shared.schema.account import TableAccount, read_account
from components.shared.storage import read_json
from components.shared.training.curve import curves

_TONES: dict[str, Tone] = {"error": "bad", "warning": "warning", "info": "neutral"}
_MANY_DAYS = 2
"""Minimum number of days for a plot."""


@dataclass(frozen=True, kw_only=True)
class RunFolders:
    """Outputs of a run's stages; None for stages that did not run, whose sections are omitted."""

    rejected: Path | None = None
    """Folder `rejected` of ingest_events, with account.json."""
    statistics: Path | None = None
    """Folder of validate_data, with statistics.json."""
    features: Path | None = None
    """Folder of build_features, with cleaning.json."""
    retriever: Path | None = None
    """Folder of train_retriever, with curve.json."""
    ranker: Path | None = None
    """Folder of train_ranker, with curve.json and refit.json."""
    evaluation: Path | None = None
    """Folder of evaluate_model, with metrics.json and decision.json."""
    compiled: Path | None = None
    """Folder of compile_model, with compile.json."""
    proof: Path | None = None
    """Folder of validate_serving, with proof.json."""
    answers: Sequence[Mapping[str, Any]] = ()
    """Example answers: {title, request, items: [{title, price, score, reasons}]} each."""
    stages: Sequence[tuple[str, float]] = ()
    """Name and seconds of every stage, in the order they ran."""
    command: str = ""
    """The command line."""
    commit: str = ""
    """Commit of the code; empty: from git."""


@dataclass(frozen=True)
class _Facts:
    """The JSON of the stages, read once; None where a stage did not run."""

    account: TableAccount | None
    statistics: dict[str, Any] | None
    cleaning: dict[str, int] | None
    curves: dict[str, list[dict[str, float]]]
    metrics: dict[str, Any] | None
    compiled: dict[str, Any] | None

    @classmethod
    def read(cls, run: RunFolders) -> "_Facts":
        def found(folder: Path | None, name: str) -> Any:
            return read_json(folder / name) if folder else None

        return cls(
            read_account(run.rejected).get("events") if run.rejected else None,
            found(run.statistics, "statistics.json"), found(run.features, "cleaning.json"),
            curves(run.retriever, run.ranker), found(run.evaluation, "metrics.json"),
            found(run.compiled, "compile.json"),
        )  # fmt: skip


def write_report(run: RunFolders, out: Path) -> None:
    """Write one self-contained HTML file; sections of stages that did not run are omitted.

    Args:
        run: The stages' outputs.
        out: File to write.

    Raises:
        InputError: a folder lacks its file, or `out` is not writable.
    """
    facts = _Facts.read(run)
    seconds = sum(length for _, length in run.stages)
    today = datetime.datetime.now(datetime.UTC)
    parts = (run.command, f"{seconds:.0f} s" if seconds else "", f"{today:%Y-%m-%d %H:%M} UTC")
    footer = f"commit {run.commit or _commit()} · {today:%Y-%m-%d} · {_hardware()}"
    page = Page("From shop events to ranked answers", " · ".join(part for part in parts if part), footer)
    _summary(page, run, facts, seconds)
    if run.answers:
        page.section("Example answers", "Answers of a predictor that serves the model of this run.")
        page.answers(run.answers)
    if facts.metrics:
        _quality(page, facts.metrics)
    if facts.statistics:
        _data(page, facts.statistics)
    _account(page, facts)
    if facts.curves:
        sections.training(page, facts.curves)
    if facts.compiled:
        _compiled(page, facts.compiled)
    if run.proof:
        _proof(page, run.proof)
    if run.stages:
        page.section("Durations", f"{seconds:.1f} seconds in {len(run.stages)} stages.")
        stages = [(name.replace("-", " "), length) for name, length in run.stages]
        page.figure(plots.durations(stages), "Start and end of every stage")
    page.write(out)


def _summary(page: Page, run: RunFolders, facts: _Facts, seconds: float) -> None:
    """Add the release decision and the most important metrics."""
    page.section("Summary")
    if run.evaluation and facts.metrics:
        sections.banner(page, read_decision(run.evaluation).blessed, facts.metrics["checks"])
        overall = facts.metrics["scopes"]["overall"]
        best = sections.in_order(sections.simple_methods(overall["methods"]))[0]
        model, other = (overall["methods"][name]["ndcg_at_10"]["mean"] for name in ("model", best))
        if model and other:
            page.badge("NDCG@10", f"{model:.3f}", note=f"{model / other - 1:+.1%} over {best}")
    if facts.statistics:
        page.badge("events", facts.statistics["tables"]["events"]["rows"])
        page.badge("shoppers", facts.statistics["users"]["distinct"])
        page.badge("items", facts.statistics["items"]["distinct"])
    if run.proof:
        page.badge("answer time", f"{read_proof(run.proof).p50_ms:.0f} ms", note="median, over HTTP")
    if seconds:
        page.badge("whole run", f"{seconds:.0f} s", note=f"{usable_cpus()} CPU cores")


def _quality(page: Page, metrics: Mapping[str, Any]) -> None:
    sections.comparison(page, metrics)
    page.section("Decision", "All release gates and their results.")
    sections.key_numbers(page, metrics)
    sections.reasons(page, metrics["checks"])
    sections.slices(page, metrics)
    sections.ranker(page, metrics)


def _data(page: Page, statistics: Mapping[str, Any]) -> None:
    """Add key numbers, event counts and findings of the validation."""
    events, span = statistics["tables"]["events"], statistics["tables"]["events"]["columns"]["timestamp"]
    findings = sorted(statistics["findings"], key=lambda finding: list(_TONES).index(finding["level"]))
    counts = {level: sum(finding["level"] == level for finding in findings) for level in _TONES}
    page.section("The data", f"Events from {str(span['min'])[:10]} to {str(span['max'])[:10]}.")
    page.badge("events", events["rows"])
    users, items = statistics["users"], statistics["items"]
    page.badge("shoppers", users["distinct"], note=f"median {users['events']['p50']} events")
    page.badge("items with events", items["distinct"], note=f"of {statistics['tables']['items']['rows']:,} known")
    page.badge("visits", statistics["sessions"]["distinct"])
    page.badge("errors", counts["error"], "bad" if counts["error"] else "good")
    page.badge("warnings", counts["warning"], "warning" if counts["warning"] else "good")
    if len(statistics["events_per_day"]) >= _MANY_DAYS:
        page.figure(plots.events_per_day(statistics["events_per_day"]), "Events per day (UTC)")
    if len(statistics["event_mix"]) > 1:
        page.figure(plots.counts_bars(statistics["event_mix"]), "Events by type")
    else:
        page.text(f"Every event is of one type: {', '.join(statistics['event_mix'])}.")
    if findings:
        tones: dict[int, Tone] = {row: _TONES[finding["level"]] for row, finding in enumerate(findings)}
        names = ("level", "rule", "column", "message")
        page.table(["level", "rule", "column", "what"], [[found[name] for name in names] for found in findings], tones)


def _account(page: Page, facts: _Facts) -> None:
    """Add what became of the rows of the source."""
    steps = event_steps(facts.account, facts.cleaning)
    if steps:
        page.section("From the source to the training", "What lies between two totals adds up to the second.")
        page.table(["", "rows", "most common values"], steps)
    changed = {name: count for name, count in (facts.cleaning or {}).items() if name.endswith("outliers") and count}
    if changed:
        named = {"price_outliers": "price, taken as unknown", "quantity_outliers": "quantity, taken as the limit"}
        page.table(["value", "events"], [[named.get(name, name), count] for name, count in changed.items()])


def _compiled(page: Page, figures: Mapping[str, Any]) -> None:
    """Add size, accuracy and latency of the compiled model."""
    smaller = figures["trained_mb"] / figures["compiled_mb"] if figures["compiled_mb"] else 1.0
    table_format = figures.get("table_format", figures.get("precision"))  # the name until 0.1.0
    page.section(
        "Compiled model",
        f"Served by {figures.get('runtime', 'onnxruntime')}, embedding rows in {table_format}; compared "
        "with the trained model.",
    )
    page.badge("smaller", f"{smaller:.1f} ×", note=f"{figures['trained_mb']:.1f} to {figures['compiled_mb']:.1f} MB")
    page.badge("bundle", f"{figures['bundle_mb']:.1f} MB", note="with indexes and histories")
    page.badge("overlap@10", f"{figures['rank_overlap_at_10']:.1%}", note="with the trained model")
    page.badge("difference", f"{figures['max_probability_difference']:.4f}", note="largest of a probability")
    page.badge("one request", f"{figures['single_p50_ms']:.0f} ms", note=f"p99 {figures['single_p99_ms']:.0f} ms")
    page.badge("batch of 32", f"{figures['batch_32_ms']:.0f} ms", note="one thread")


def _proof(page: Page, folder: Path) -> None:
    proof = read_proof(folder)
    page.section("Serving proof", f"{proof.name} {proof.version}, measured over HTTP.")
    page.badge("golden requests", proof.golden, "good", note=f"scores within {proof.max_score_difference:.1e}")
    page.badge("median", f"{proof.p50_ms:.1f} ms", note=f"of {proof.requests:,} requests")
    page.badge("p99", f"{proof.p99_ms:.1f} ms", "good", note=f"limit {proof.max_p99_ms:.0f} ms")
    page.badge("memory", f"{proof.memory_mb:.0f} MB", "good", note=f"limit {proof.max_memory_mb:.0f} MB")
    page.badge("ready after", f"{proof.startup_s:.1f} s")


def _commit() -> str:
    git = subprocess.run(["git", "-C", str(Path(__file__).parent), "rev-parse", "--short=12", "HEAD"],
                         capture_output=True, text=True, check=False)  # fmt: skip
    return git.stdout.strip() or "unknown"


def _hardware() -> str:
    memory = usable_memory() / 2**30
    return f"{usable_cpus()} CPU cores ({platform.machine()}), {memory:.0f} GiB, {platform.system()}"
