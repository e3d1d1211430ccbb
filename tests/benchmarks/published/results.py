"""A benchmark: validation chooses a candidate, each seed is tested once; results as JSON and Markdown table."""

import dataclasses
from dataclasses import dataclass

import numpy as np

from components.shared.progress import report
from tests.benchmarks.published.candidates import ablations
from tests.benchmarks.published.fitting import Blend, Candidate, Workshop
from tests.benchmarks.published.judging import criterion, judge, thinned
from tests.benchmarks.published.layouts import Layout
from tests.benchmarks.published.published import published
from tests.benchmarks.published.training import Recipe

_CHOICE_SCORES = 600_000_000
"""Maximum number of scores per candidate for the choice; a larger validation part is thinned evenly."""


@dataclass(frozen=True, kw_only=True)
class Result:
    """Results on one data set."""

    layout: Layout
    """The data set."""
    seeds: tuple[int, ...]
    """Seeds of the test."""
    chosen: Candidate
    """Candidate chosen by validation."""
    tried: dict[str, dict[str, float]]
    """Validation metrics of every candidate, with the first seed."""
    test: dict[str, tuple[float, ...]]
    """Metric -> values of the chosen candidate, one per seed."""
    ablation: dict[str, dict[str, float]]
    """Test metrics of variants of the chosen recipe with one change, with the first seed; empty if not requested."""

    def to_json(self) -> dict:
        """Return JSON values."""
        return {
            "kind": self.layout.kind, "counts": self.layout.counts, "protocol": self.layout.protocol,
            "chosen": repr(self.chosen), "validation": self.tried, "seeds": self.seeds, "test": self.test,
            "mean": {name: float(np.mean(values)) for name, values in self.test.items()},
            "std": {name: _spread(values) for name, values in self.test.items()},
            "ablation": self.ablation,
            "published": [dataclasses.asdict(row) for row in published(self.layout.counts)],
        }  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Ablation:
    """Variants of the chosen recipe to fit as well."""

    wanted: list[str]
    """Names of changes, one per variant; empty: all."""
    base: str = ""
    """Name of a change that all variants start from; empty: none."""


def run(
    workshop: Workshop, tried: tuple[Candidate, ...], seeds: tuple[int, ...], ablate: Ablation | None = None
) -> Result:
    """Choose on validation with the first seed, then fit and test with every seed.

    Args:
        workshop: Fits to one data set.
        tried: Candidates.
        seeds: Seeds of the test; the first is also used for the choice.
        ablate: Variants of the chosen recipe to fit as well.
    """
    layout = workshop.layout
    found: dict[str, dict[str, float]] = {}
    asked = thinned(layout.validation, _CHOICE_SCORES // layout.items)
    for candidate in tried:
        found[candidate.name] = judge(workshop.validated(candidate, seeds[0])[0], layout, asked)
        report("benchmark", 0.0, f"validation of {candidate.name}: {_told(found[candidate.name])}")
    chosen = max(tried, key=lambda candidate: criterion(found[candidate.name]))
    test: dict[str, list[float]] = {name: [] for name in layout.metrics}
    for seed in seeds:
        measured = _tested(workshop, chosen, seeds[0] if layout.refit else seed, seed)
        report("benchmark", 1.0, f"test of {chosen.name}, seed {seed}: {_told(measured)}")
        for name, value in measured.items():
            test[name].append(value)
    variants = {}
    recipe = chosen.recipes[0] if isinstance(chosen, Blend) else chosen
    if ablate is not None and isinstance(recipe, Recipe):
        base = ablations(recipe, [ablate.base])[0] if ablate.base else recipe
        for variant in (base, *ablations(base, ablate.wanted)):
            variants[variant.name] = _tested(workshop, variant, seeds[0], seeds[0])
            report("benchmark", 1.0, f"test of {variant.name}: {_told(variants[variant.name])}")
    return Result(
        layout=layout, seeds=seeds, chosen=chosen, tried=found, ablation=variants,
        test={name: tuple(values) for name, values in test.items()},
    )  # fmt: skip


def _tested(workshop: Workshop, candidate: Candidate, choosing: int, seed: int) -> dict[str, float]:
    memory = workshop.validated(candidate, choosing)[1]
    return judge(workshop.final(candidate, seed, memory), workshop.layout, workshop.layout.test)


def _told(values: dict[str, float]) -> str:
    return ", ".join(f"{name} {value:.4f}" for name, value in values.items())


def _spread(values: tuple[float, ...]) -> float:
    return float(np.std(values, ddof=1)) if len(values) > 1 else 0.0


def table(result: Result) -> str:
    """Return Markdown tables of our and published results, of all candidates, and of the ablation."""
    layout, names = result.layout, list(result.layout.metrics)
    queries, items = f"{layout.counts[1]:,}", f"{layout.counts[2]:,}"
    head = f"| {' | '.join(names)} |\n|---|{'---|' * len(names)}"
    lines = [
        f"**{layout.kind.replace('_', ' ')}**: {queries} queries, {items} items; {layout.protocol}.", "",
        f"| method {head}",
    ]  # fmt: skip
    for row in published(layout.counts):
        lines.append(f"| {row.method} ({row.source}) | {' | '.join(f'{value:.4f}' for value in row.values)} |")
    means = [f"**{np.mean(result.test[name]):.4f}**" for name in names]
    spreads = [f" ± {_spread(result.test[name]):.4f}" if len(result.seeds) > 1 else "" for name in names]
    cells = [mean + spread for mean, spread in zip(means, spreads, strict=True)]
    seeds = f"{len(result.seeds)} seed{'s' * (len(result.seeds) > 1)}"
    lines += [f"| **shoprank**: {result.chosen.name} ({seeds}) | {' | '.join(cells)} |", ""]
    lines += _rows("candidate, on validation", head, names, result.tried)
    if result.ablation:
        lines += _rows("variant, on the test, one seed", head, names, result.ablation)
    return "\n".join(lines)


def _rows(title: str, head: str, names: list[str], found: dict[str, dict[str, float]]) -> list[str]:
    rows = [f"| {method} | {' | '.join(f'{values[name]:.4f}' for name in names)} |" for method, values in found.items()]
    return [f"| {title} {head}", *rows, ""]
