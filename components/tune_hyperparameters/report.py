"""The page of a study: improvement, the best five trials and the history."""

from components.shared.report.page import Page, Tone
from components.shared.tuning.hyperparameters import Hyperparameters
from components.tune_hyperparameters import drawing
from components.tune_hyperparameters.result import Result, Row

_FEW = 4
"""Minimum number of complete trials for importances."""


def tuning_page(result: Result, best: Hyperparameters) -> Page:
    """Create the page of a study in its current state."""
    config, metric = result.config, result.tunable.metric.replace("_", " ")
    page = Page(
        f"Tuning of the {result.tunable.model}",
        f"study {result.name}: {result.counted} of {config.trials} trials, {config.objective}, "
        f"pruning {config.pruning}, seed {config.seed}",
        f"features {result.tunable.digest}",
    )
    page.section("Result", "Chosen on validation data only; the test window was not used.")
    _badges(page, result, best, metric)
    _configuration(page, result, best)
    _best_five(page, result, metric)
    _finals(page, result, metric)
    page.section("Search history")
    page.figure(drawing.history(result, metric), f"{metric} of every trial, and the best so far (line)")
    if config.latency and result.front():
        page.figure(drawing.pareto(result, metric), "Quality against latency; the line is the Pareto front")
    page.section("Importance of hyperparameters")
    if len(result.complete) >= _FEW and (shares := drawing.importances(result)):
        page.figure(
            drawing.importance(shares),
            "Share of the difference between good and other trials that each hyperparameter explains (PED-ANOVA; "
            "Watanabe et al., IJCAI 2023)",
        )  # fmt: skip
    if result.complete:
        page.figure(drawing.parallel(result, metric), "Every complete trial as a line; darker is better")
    _others(page, result)
    return page


def _badges(page: Page, result: Result, best: Hyperparameters, metric: str) -> None:
    if best.value is not None and best.default_value:
        gain = best.value / best.default_value - 1
        page.badge("best", best.value, "good" if gain > 0 else "neutral", f"{metric}, trial {best.trial}")
        page.badge("defaults", best.default_value, note=metric)
        page.badge("gain", f"{gain:+.1%}", "good" if gain > 0 else "warning", "over the defaults, on validation")
    chosen, defaults = result.chosen(), result.defaults
    if chosen and defaults and chosen.latency_ms is not None:
        page.badge("latency", f"{chosen.latency_ms:.2f} ms", note=f"defaults {defaults.latency_ms:.2f} ms")
    for state in ("complete", "pruned", "failed", "lost", "running"):
        if count := sum(row.state == state for row in result.rows):
            page.badge(state, count, "warning" if state in ("failed", "lost") else "neutral", "trials")


def _configuration(page: Page, result: Result, best: Hyperparameters) -> None:
    defaults = result.tunable.defaults
    rows = [[name, best.values.get(name), defaults.get(name)] for name in result.space.ranges
            if name in best.values or name in defaults]  # fmt: skip
    page.table(["hyperparameter", "best", "default"], rows)


def _best_five(page: Page, result: Result, metric: str) -> None:
    page.section("Best five trials")
    shown = result.complete[:5]
    if result.defaults and result.defaults not in shown:
        shown.append(result.defaults)
    names = list(result.space.ranges)
    latency = ["latency (ms)"] if result.config.latency else []
    cells = [[_name(row), row.quality, *([row.latency_ms] if latency else []), row.epochs_done or None, row.seconds,
              *(row.values.get(name) for name in names)] for row in shown]  # fmt: skip
    highlight: dict[int, Tone] = {at: "good" for at, row in enumerate(shown) if row == result.chosen()}
    page.table(["trial", metric, *latency, "epochs done", "seconds", *names], cells, highlight)


def _finals(page: Page, result: Result, metric: str) -> None:
    """Add the finalists with their metrics for every seed."""
    rows = sorted(filter(result.finals_complete, result.finalists()), key=lambda row: -(row.mean or 0.0))
    if not rows:
        return
    page.section("Finals", "The best trials and the defaults, trained again with other seeds; the best mean wins.")
    seeds = result.config.final_seeds
    cells = [[_name(row), row.mean, row.quality, *(row.again[seed] for seed in seeds)] for row in rows]
    highlight: dict[int, Tone] = {at: "good" for at, row in enumerate(rows) if row == result.chosen()}
    names = [f"seed {seed}" for seed in (result.config.seed, *seeds)]
    page.table(["trial", f"{metric}, mean", *names], cells, highlight)


def _others(page: Page, result: Result) -> None:
    """Add the trials without a result, and the reasons."""
    rows = [[_name(row), row.state, row.problem or ("its worker died" if row.state == "lost" else ""), row.worker]
            for row in result.rows if row.state in ("failed", "lost")]  # fmt: skip
    if rows:
        page.section(
            "Trials without a result", "Lost trials do not count towards the budget; their values are tried once more."
        )
        page.table(["trial", "state", "why", "worker"], rows)


def _name(row: Row) -> str:
    return f"{row.number} (defaults)" if row.defaults else str(row.number)
