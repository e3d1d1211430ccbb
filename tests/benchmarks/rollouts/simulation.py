"""Simulated rollouts with known effects: which candidates are stopped, after how much traffic, compared with t-tests.

`python -m tests.benchmarks.rollouts.simulation --rollouts 200 --seed 0 --out out/rollouts` writes
results.json, table.md and page.html.
"""

import argparse
import dataclasses
import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from rich.progress import track
from scipy import stats

from components.rollout_model.guards import BAD, GOOD, Action, GuardConfig, State
from components.rollout_model.judge import Judge
from components.shared.storage import write_json, write_text
from tests.benchmarks.rollouts.page import HOUR, simulation_page, table
from tests.benchmarks.rollouts.rivals import Stop, at_every_look, at_the_end
from tests.benchmarks.rollouts.storefront import DAY_S, Counts, Storefront, Stretch, Version, draw
from tests.benchmarks.tables import provenance, write_table


@dataclass(frozen=True, kw_only=True)
class Plan:
    """Settings of the simulated rollouts."""

    steps: tuple[float, ...] = (0.05, 0.25, 0.5, 1.0)
    """Traffic shares of the candidate."""
    step_hours: float = 6.0
    """Maximum duration of a step, and the horizon of the t-tests."""
    poll_s: float = 180.0
    """Seconds between two looks."""
    guards: GuardConfig = field(default_factory=lambda: GuardConfig(max_duration_s=6 * HOUR))
    """Thresholds; the t-tests use the same alpha."""

    @property
    def polls(self) -> int:
        """Number of looks per step."""
        return round(self.step_hours * HOUR / self.poll_s)

    @property
    def compared(self) -> tuple[float, ...]:
        """Shares at which both versions receive traffic."""
        return tuple(share for share in self.steps if share < 1)


@dataclass(frozen=True, kw_only=True)
class Scenario:
    """A candidate and the shop in which it is rolled out."""

    title: str
    """Title in tables."""
    candidate: Version
    """Faults of the candidate."""
    shop: Storefront = field(default_factory=Storefront)
    """The storefront."""
    harmful: bool = True
    """Whether the candidate should be stopped."""


SCENARIOS = {
    "equal": Scenario(title="equal model", candidate=Version(), harmful=False),
    "equal_in_trouble": Scenario(
        title="equal model, 3 incidents a day that hit both", candidate=Version(), harmful=False,
        shop=Storefront(incidents_per_day=3.0),
    ),
    "equal_small": Scenario(
        title="equal model, shop of 10 requests/s", candidate=Version(), harmful=False,
        shop=Storefront(requests_per_s=10.0),
    ),
    "failing": Scenario(title="10 % of all requests fail", candidate=Version(failing=0.1)),
    "errors": Scenario(title="10 % more errors (0.50 to 0.55 %)", candidate=Version(error_factor=1.1)),
    "errors_small": Scenario(
        title="10 % more errors, shop of 20 requests/s", candidate=Version(error_factor=1.1),
        shop=Storefront(requests_per_s=20.0),
    ),
    "latency": Scenario(title="p99 50 % higher", candidate=Version(latency_factor=1.5)),
    "clicks": Scenario(title="10 % fewer clicks", candidate=Version(click_factor=0.9)),
    "empty": Scenario(title="one category of 6 % answered empty", candidate=Version(empty_category=6)),
}  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """Outcome of one rollout."""

    stopped: bool
    """Whether the candidate was rolled back."""
    hours: float
    """Hours until the rollback or the promotion."""
    requests: int
    """Requests served by the candidate until then."""
    traffic: int
    """Requests served by both versions until then."""
    share: float
    """Traffic share of the candidate at the end."""
    decided_by: tuple[str, ...] = ()
    """Guards that detected harm, or 'undecided'."""


def judged(scenario: Scenario, plan: Plan, random: np.random.Generator) -> Outcome:
    """Run one rollout with the sequential judge."""
    judge, clock, candidate, traffic = Judge(plan.guards), random.uniform(0, DAY_S), 0, 0
    action, harms = Action.WAIT, tuple[str, ...]()
    started, incidents = clock, scenario.shop.incidents(random, 8)
    for share in plan.steps:
        judge.start_step(share, final=share == plan.compared[-1])
        stretch = Stretch(start_s=clock, seconds=plan.poll_s, intervals=plan.polls, share=share)
        for interval in draw(scenario.shop, scenario.candidate, stretch, incidents, random).intervals(plan.poll_s):
            verdict = judge.observe(interval)
            clock += plan.poll_s
            candidate += interval.candidate.requests
            traffic += interval.candidate.requests + interval.champion.requests
            action = verdict.action
            if action is not Action.WAIT:
                harms = tuple(str(guard.metric) for guard in verdict.guards if guard.state is State.HARM)
                break
        if action is Action.ROLL_BACK:
            return Outcome(stopped=True, hours=(clock - started) / HOUR, requests=candidate, traffic=traffic,
                           share=share, decided_by=harms or ("undecided",))  # fmt: skip
    return Outcome(
        stopped=False, hours=(clock - started) / HOUR, requests=candidate, traffic=traffic, share=plan.steps[-1]
    )


def tested(
    scenario: Scenario, plan: Plan, look: Callable[[Counts], Stop | None], random: np.random.Generator
) -> Outcome:
    """Run one rollout of fixed steps that a t-test may stop; the step with all traffic cannot be tested."""
    clock, candidate, traffic, intervals, hours = random.uniform(0, DAY_S), 0, 0, 0, 0.0
    incidents = scenario.shop.incidents(random, 8)
    for share in plan.compared:
        stretch = Stretch(start_s=clock, seconds=plan.poll_s, intervals=plan.polls, share=share)
        counts = draw(scenario.shop, scenario.candidate, stretch, incidents, random)
        stop = look(counts)
        seen = plan.polls if stop is None else stop.at + 1
        clock, intervals = clock + seen * plan.poll_s, intervals + seen
        candidate, traffic = (
            candidate + int(counts.requests[:seen, 1].sum()),
            traffic + int(counts.requests[:seen].sum()),
        )
        hours = intervals * plan.poll_s / HOUR
        if stop is not None:
            return Outcome(stopped=True, hours=hours, requests=candidate, traffic=traffic, share=share,
                           decided_by=(stop.metric,))  # fmt: skip
    return Outcome(stopped=False, hours=hours, requests=candidate, traffic=traffic, share=plan.compared[-1])


def methods(plan: Plan) -> dict[str, Callable[[Scenario, np.random.Generator], Outcome]]:
    """Return the judge and two t-tests, whose alpha is split over metrics and steps, or over metrics at every look."""
    metrics = len(BAD) + len(GOOD)
    once, often = plan.guards.alpha / metrics / len(plan.compared), plan.guards.alpha / metrics
    return {
        "judge": lambda scenario, random: judged(scenario, plan, random),
        "t_test_once": lambda scenario, random: tested(scenario, plan, lambda c: at_the_end(c, once), random),
        "t_test_peeking": lambda scenario, random: tested(scenario, plan, lambda c: at_every_look(c, often), random),
    }


def summary(outcomes: Sequence[Outcome]) -> dict[str, Any]:
    """Return the stopped share, its exact 95 % interval (Clopper and Pearson 1934), and medians when stopped."""
    stopped = [outcome for outcome in outcomes if outcome.stopped]
    interval = stats.binomtest(len(stopped), len(outcomes)).proportion_ci(0.95, "exact")
    deciders = [name for outcome in stopped for name in outcome.decided_by]
    return {
        "rollouts": len(outcomes), "stopped": len(stopped), "share": len(stopped) / len(outcomes),
        "stopped_at_full_share": sum(outcome.share == 1 for outcome in stopped),
        "low": float(interval.low), "high": float(interval.high),
        "decided_by": {name: deciders.count(name) for name in sorted(set(deciders))},
        **{f"{name}_{end}": _quantile(stopped, name, at) for name in ("hours", "requests") for end, at in
           (("median", 0.5), ("p90", 0.9))},
        "traffic_share_median": statistics.median(o.requests / o.traffic for o in stopped) if stopped else None,
        "hours_promoted": statistics.median([o.hours for o in outcomes if not o.stopped] or [0.0]) or None,
    }  # fmt: skip


def _quantile(outcomes: Sequence[Outcome], name: str, at: float) -> float | None:
    return float(np.quantile([getattr(outcome, name) for outcome in outcomes], at)) if outcomes else None


def simulate(
    rollouts: int, seed: int, plan: Plan | None = None, names: Sequence[str] = tuple(SCENARIOS)
) -> dict[str, Any]:
    """Run every scenario with every method.

    Args:
        rollouts: Rollouts of each scenario and method.
        seed: Random seed; each rollout has its own stream, so their number does not change the first ones.
        plan: Settings; the default plan if None.
        names: Names of SCENARIOS to run.

    Returns:
        {"seed", "rollouts", "plan", "shop", "scenarios": {name: {title, harmful, methods: {method: summary},
        stopped_after_hours: {method: hours, sorted}}}}.
    """
    plan = plan or Plan()
    found = {}
    for name in names:
        scenario = SCENARIOS[name]
        outcomes = {
            method: [run(scenario, np.random.default_rng((seed, number))) for number in track(
                range(rollouts), f"{name}, {method}", transient=True)]
            for method, run in methods(plan).items()
        }  # fmt: skip
        found[name] = {
            "title": scenario.title, "harmful": scenario.harmful,
            "methods": {method: summary(ended) for method, ended in outcomes.items()},
            "stopped_after_hours": {
                method: sorted(one.hours for one in ended if one.stopped) for method, ended in outcomes.items()
            },
        }  # fmt: skip
    return {
        "seed": seed, "rollouts": rollouts, "plan": {**dataclasses.asdict(plan), "guards": plan.guards.to_json()},
        "shop": dataclasses.asdict(Storefront()), "scenarios": found,
    }  # fmt: skip


def main() -> None:
    """Simulate, and write results.json, table.md and page.html."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rollouts", type=int, default=200)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=Path("out/rollouts"))
    parser.add_argument("--results", type=Path, help="folder that receives the tables")
    arguments = parser.parse_args()
    if arguments.rollouts < 1:
        parser.error("--rollouts must be 1 or more")
    results = simulate(arguments.rollouts, arguments.seed)
    write_json(arguments.out / "results.json", results)
    write_text(arguments.out / "table.md", table(results) + "\n")
    simulation_page(results).write(arguments.out / "page.html")
    print(table(results))
    if arguments.results:
        write_table(
            arguments.results,
            "rollouts",
            f"{table(results)}\n\n{provenance('python -m tests.benchmarks.rollouts.simulation')}",
        )


if __name__ == "__main__":
    main()
