"""Fit candidates for validation and for the test; fitted models are saved, so that a stopped run can resume."""

import hashlib
import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import assert_never

import numpy as np
import torch
from safetensors.torch import load_file, save_file

from components.shared.features.ragged import Ragged
from components.shared.storage import atomic_directory, read_json, write_json
from tests.benchmarks.published.graph_filter import Graph, GraphFilter, GraphFilterConfig
from tests.benchmarks.published.judging import Scorer, criterion, judge, thinned
from tests.benchmarks.published.layouts import Layout, Problem
from tests.benchmarks.published.training import Recipe, SequenceScorer, Trainer, train, train_again

_WATCHED_SCORES = 300_000_000
"""Maximum number of scores in the validation after an epoch; the choice among candidates uses more."""


@dataclass(frozen=True, kw_only=True)
class Blend:
    """Mean log-probabilities of sequence models plus those of a graph filter, weighted."""

    name: str
    """Name in tables."""
    recipes: tuple[Recipe, ...]
    """The sequence models, at least one."""
    filters: tuple[GraphFilterConfig, ...]
    """Graph filters, one of which is chosen by validation."""
    weights: tuple[float, ...] = (0.2, 0.35, 0.5, 0.75, 1.0)
    """Weights of the filter, one of which is chosen by validation."""


Candidate = Recipe | GraphFilterConfig | Blend


class Kept:
    """A scorer that caches its scores."""

    def __init__(self, scorer: Scorer):
        self.scorer, self.answers = scorer, {}

    def __call__(self, queries: Ragged) -> torch.Tensor:
        """Return scores, float [queries, items]."""
        asked = queries.offsets.tobytes() + queries.values.tobytes()
        if asked not in self.answers:
            self.answers[asked] = self.scorer(queries)
        return self.answers[asked].clone()


class BlendScorer:
    """Combination of several scorers."""

    def __init__(self, sequences: list[Scorer], neighbours: Scorer, weight: float):
        self.sequences, self.neighbours, self.weight = sequences, neighbours, weight

    def __call__(self, queries: Ragged) -> torch.Tensor:
        """Return scores, float [queries, items]."""
        near = self.neighbours(queries).clamp(min=0)
        near[:, 0] = 0
        share = near / near.sum(1, keepdim=True).clamp(min=1e-12)
        learned = torch.log_softmax(self.sequences[0](queries), 1)
        for sequence in self.sequences[1:]:
            learned += torch.log_softmax(sequence(queries), 1)
        learned /= len(self.sequences)
        # Adding 1 / items keeps items without neighbours possible.
        return learned + self.weight * (share + 1 / share.shape[1]).log()


class Workshop:
    """Fits candidates to a layout and saves them in `folder` under digests of layout, candidate and seed."""

    def __init__(self, layout: Layout, folder: Path):
        self.layout = layout
        data = hashlib.sha256()
        for problem in (layout.validation, layout.test):
            for ragged in (problem.train, problem.queries, problem.relevant):
                data.update(np.ascontiguousarray(ragged.values).tobytes() + ragged.offsets.tobytes())
        self.folder = folder / f"{layout.kind}-{data.hexdigest()[:12]}"
        self._graphs: dict[tuple[str, int, int, float, float, float], Graph] = {}

    def validated(self, candidate: Candidate, seed: int) -> tuple[Scorer, dict]:
        """Fit on validation.train; return the scorer and the settings needed to fit for the test."""
        match candidate:
            case Recipe():
                return self._trained(candidate, seed)
            case GraphFilterConfig():
                return GraphFilter(candidate, self._graph("validation", candidate, seed)), {}
            case Blend():
                return self._blended(candidate, seed)
            case _:
                assert_never(candidate)

    def final(self, candidate: Candidate, seed: int, memory: dict) -> Scorer:
        """Fit on test.train with the settings found by validation; without a refit, return the validated fit."""
        match candidate:
            case Recipe():
                if not self.layout.refit:
                    return self.validated(candidate, seed)[0]
                return self._again(candidate, seed, memory["rates"])
            case GraphFilterConfig():
                return GraphFilter(candidate, self._graph("test", candidate, seed))
            case Blend():
                fitted = zip(candidate.recipes, memory["recipes"], strict=True)
                sequences = [self.final(recipe, seed, known) for recipe, known in fitted]
                neighbours = self.final(candidate.filters[memory["filter"]], seed, {})
                return BlendScorer(sequences, neighbours, memory["weight"])
            case _:
                assert_never(candidate)

    def _blended(self, blend: Blend, seed: int) -> tuple[Scorer, dict]:
        """See validated."""
        asked = thinned(self.layout.validation, _WATCHED_SCORES // (2 * self.layout.items))
        fitted = [self.validated(recipe, seed) for recipe in blend.recipes]
        learned, found = [Kept(scorer) for scorer, _ in fitted], {}
        for at, config in enumerate(blend.filters):
            near = Kept(self.validated(config, seed)[0])
            for weight in blend.weights:
                found[at, weight] = criterion(judge(BlendScorer(learned, near, weight), self.layout, asked))
        at, weight = max(found, key=lambda choice: found[choice])
        memory = {"recipes": [memory for _, memory in fitted], "filter": at, "weight": weight}
        near = self.validated(blend.filters[at], seed)[0]
        return BlendScorer([scorer for scorer, _ in fitted], near, weight), memory

    def _graph(self, part: str, config: GraphFilterConfig, seed: int) -> Graph:
        key = part, seed, config.factors, config.user_power, config.item_power, config.recency
        if key not in self._graphs:
            problem = self.layout.validation if part == "validation" else self.layout.test
            # Keep one graph only: graphs of other parts or seeds are not needed again soon.
            self._graphs = {key: Graph(problem.train, self.layout.items, config, seed, self.layout.dated)}
        return self._graphs[key]

    def _place(self, recipe: Recipe, *what: object) -> Path:
        digest = hashlib.sha256(json.dumps([repr(replace(recipe, name="")), *map(str, what)]).encode()).hexdigest()
        return self.folder / digest[:16]

    def _trained(self, recipe: Recipe, seed: int) -> tuple[Scorer, dict]:
        place = self._place(recipe, "validated", seed)
        if not place.exists():
            watched = thinned(self.layout.validation, _WATCHED_SCORES // self.layout.items)
            trained = train(
                recipe, self.layout, watched.train, seed,
                lambda model: criterion(judge(SequenceScorer(model), self.layout, watched)),
            )  # fmt: skip
            with atomic_directory(place) as folder:
                save_file(trained.model.state_dict(), folder / "weights.safetensors")
                write_json(folder / "memory.json", {"rates": trained.rates, "curve": trained.curve,
                                                    "recipe": repr(recipe), "seed": seed})  # fmt: skip
        memory = read_json(place / "memory.json")
        return self._scorer(recipe, self.layout.validation, place), {"rates": memory["rates"]}

    def _again(self, recipe: Recipe, seed: int, rates: list[float]) -> Scorer:
        place = self._place(recipe, "again", seed, rates)
        if not place.exists():
            model = train_again(recipe, self.layout, self.layout.test.train, seed, rates)
            with atomic_directory(place) as folder:
                save_file(model.state_dict(), folder / "weights.safetensors")
                write_json(folder / "memory.json", {"rates": rates, "recipe": repr(recipe), "seed": seed})
        return self._scorer(recipe, self.layout.test, place)

    def _scorer(self, recipe: Recipe, problem: Problem, place: Path) -> Scorer:
        model = Trainer(recipe, self.layout, problem.train, 0).model.eval()
        model.load_state_dict(load_file(place / "weights.safetensors"))
        return SequenceScorer(model)
