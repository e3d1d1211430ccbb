"""Table and report page of the rollout simulation: how many candidates each method stopped, and how soon."""

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from components.rollout_model.guards import GuardConfig
from components.shared.report.page import COLOURS, Page, Tone, new_figure

HOUR = 3_600.0

METHODS = {
    "judge": ("sequential judge", COLOURS[0]),
    "t_test_once": ("t-test once a step", COLOURS[5]),
    "t_test_peeking": ("t-test at every look", COLOURS[1]),
}


def simulation_page(results: Mapping[str, Any]) -> Page:
    """Return the report page.

    Args:
        results: Result of `simulate`.
    """
    page = Page("Guarded rollouts, simulated", f"{results['rollouts']} rollouts of each candidate by each method")
    page.section("Who is stopped, and when", "Of an equal model at most one in twenty may be stopped.")
    page.figure(stopped_plot(results), "Share of rollouts stopped by each hour; equal models above, harmful ones below")
    rows, tones = [], dict[int, Tone]()
    for scenario in results["scenarios"].values():
        for method, found in scenario["methods"].items():
            harmful, alpha = scenario["harmful"], results["plan"]["guards"]["alpha"]
            wrong = found["high"] < 0.9 if harmful else found["low"] > alpha
            tones[len(rows)] = "bad" if wrong else "neutral"
            decided = ", ".join(f"{name} {times}" for name, times in found["decided_by"].items())
            rows.append([scenario["title"], METHODS[method][0], found["share"], found["low"], found["high"],
                         found["hours_median"], found["requests_median"], decided])  # fmt: skip
    columns = ["candidate", "method", "stopped", "low", "high", "hours", "requests", "decided by"]
    page.section("Numbers", "Shares with exact 95 % intervals; medians over the stopped ones.")
    page.table(columns, rows, tones)
    return page


def stopped_plot(results: Mapping[str, Any]) -> Figure:
    """Plot the share of stopped rollouts over time, one panel per scenario."""
    scenarios = list(results["scenarios"].values())
    across = 3
    down = -(-len(scenarios) // across)
    figure = new_figure(width=8.4, height=0.4 + 2.0 * down)
    horizon = results["plan"]["step_hours"] * len(results["plan"]["steps"])
    panels = figure.subplots(down, across, squeeze=False).ravel()
    for axes, scenario in zip(panels, scenarios, strict=False):
        for method, (label, colour) in METHODS.items():
            hours = np.array([1e-3, *scenario["stopped_after_hours"][method], horizon])
            count = scenario["methods"][method]["rollouts"]
            share = np.array([*range(len(hours) - 1), len(hours) - 2]) / count * 100
            axes.step(hours, share, where="post", color=colour, label=label, linewidth=1.6)
        if not scenario["harmful"]:
            axes.axhline(results["plan"]["guards"]["alpha"] * 100, color="#b3263e", linewidth=1, linestyle="--")
        axes.set(xscale="log", xlim=(0.02, horizon), ylim=(-2, 102))
        axes.xaxis.set_major_formatter("{x:g}")
        axes.set_title(scenario["title"], fontsize=8)
    for axes in panels[len(scenarios) :]:
        axes.set_visible(False)
    for axes in panels[-across:]:
        axes.set_xlabel("hours")
    for axes in panels[::across]:
        axes.set_ylabel("% stopped")
    panels[0].legend(fontsize=7, frameon=False, loc="upper left")
    return figure


def needed_requests(rate: float, harm: float, share: float, config: GuardConfig) -> float:
    """Return the requests of both versions needed to detect harm with a probability of about 90 %.

    The log likelihood ratio grows by I d^2 / 2 with standard deviation d sqrt(I), where d is the log ratio and I the
    harmonic combination of the events of candidate and champion; the threshold is log(2 / alpha_guard) plus the cost of
    the mixture, about log(10).

    Args:
        rate: Event rate of the champion.
        harm: Relative increase.
        share: Traffic share of the candidate.
        config: Thresholds.
    """
    bar, distance, sure = math.log(2 / config.alpha_guard) + math.log(10), math.log1p(harm), 1.282
    root = sure + math.sqrt(sure**2 + 2 * bar)
    return (root / distance) ** 2 / (rate * share * (1 - share) * (1 + harm) / (1 + share * harm))


def table(results: Mapping[str, Any]) -> str:
    """Return the result table in Markdown."""
    lines = [
        "| candidate | rolled back by the judge (95 % interval) | time to stop, median (90th percentile) | requests it "
        "answered before, median (share of all) | t-test once a step: rolled back, time | t-test at every look |",
        "|---|---|---|---|---|---|",
    ]
    for scenario in results["scenarios"].values():
        judge, once, often = (scenario["methods"][name] for name in ("judge", "t_test_once", "t_test_peeking"))
        if judge["stopped"]:
            seen = f"{judge['requests_median']:,.0f} ({judge['traffic_share_median']:.1%})"
            stop = f"{_time(judge['hours_median'])} ({_time(judge['hours_p90'])})"
        else:
            seen, stop = "-", "-"
        verdict = f"{judge['share']:.1%} ({judge['low']:.1%} to {judge['high']:.1%})"
        after = f", {_time(once['hours_median'])}" if once["stopped"] else ""
        lines.append(f"| {scenario['title']} | {verdict} | {stop} | {seen} | {once['share']:.1%}{after} "
                     f"| {often['share']:.1%} |")  # fmt: skip
    return "\n".join([*lines, "", *_assumptions(results)])


def _time(hours: float) -> str:
    return f"{hours:.1f} h" if hours >= 1 else f"{hours * 60:.0f} min"


def _assumptions(results: Mapping[str, Any]) -> list[str]:
    """Describe the assumptions and findings behind the table."""
    shop, plan, scenarios = results["shop"], results["plan"], results["scenarios"]
    guards = GuardConfig.read(plan["guards"], "guards")
    low, high = (shop["requests_per_s"] * (1 + sign * shop["wave"]) for sign in (-1, 1))
    lines = [
        f"{results['rollouts']} rollouts of each candidate by each method, seed {results['seed']}, alpha "
        f"{guards.alpha:g} over a whole rollout. The shop: {shop['requests_per_s']:.0f} requests/s on "
        f"average ({low:.0f} to {high:.0f} over the day), {shop['error_rate']:.1%} errors, some 12 % clicks and 1.4 % "
        f"purchases, {shop['shadowed']:.0%} of requests compared with the shadow. Steps "
        f"{', '.join(f'{share:.0%}' for share in plan['steps'])} of at most {plan['step_hours']:g} h, a look every "
        f"{plan['poll_s']:.0f} s; the t-tests take the whole of each step."
    ]
    if "equal" in scenarios:
        hours = scenarios["equal"]["methods"]["judge"]["hours_promoted"]
        if hours:
            lines.append(f"An equal model is promoted by the judge after {hours:.1f} h in the median.")
    trouble = scenarios.get("equal_in_trouble", {}).get("methods", {}).get("judge")
    if trouble and trouble["stopped"]:
        lines.append(f"Of the {trouble['stopped']} equal models stopped in trouble, {trouble['stopped_at_full_share']} "
                     "had all traffic: an incident then has no champion beside it to tell whose it is.")  # fmt: skip
    need = needed_requests(shop["error_rate"], 0.1, 0.5, guards)
    hours = need / shop["requests_per_s"] / HOUR
    lines.append(
        f"10 % more errors need some {need / 1e6:.1f} million requests at 50 % to be found nine times in ten: "
        f"{hours:.1f} h at {shop['requests_per_s']:.0f} requests/s, {hours * 5:.0f} h at a fifth of that."
    )
    return [" ".join(lines)]
