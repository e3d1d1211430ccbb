"""Benefit of tuning: twenty trials against the defaults, chosen on validation, then evaluated once on the test window.

`python -m tests.benchmarks.quality.tuning --data DATA` writes results/tuning.md;
finished parts in `--out` are kept, so a stopped run can be resumed.
"""

import argparse
import dataclasses
import shlex
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import torch

from components.evaluate_model.config import EvaluationOptions
from components.evaluate_model.evaluate import evaluate
from components.shared.features.catalog import Catalog
from components.shared.features.rows import Rows
from components.shared.features.spec import FeatureSpec
from components.shared.models.batch import keyed_jagged
from components.shared.recommender.offline import item_vectors, load_retriever
from components.shared.schema.sizes import size_named
from components.shared.storage import read_json, write_json
from components.shared.tuning.hyperparameters import Hyperparameters
from components.train_ranker import space as ranker_space
from components.train_ranker.config import RankerTraining
from components.train_ranker.job import METRIC as NDCG
from components.train_ranker.train import train as train_ranker
from components.train_retriever import space as retriever_space
from components.train_retriever.config import RetrieverTraining
from components.train_retriever.job import METRIC as RECALL
from components.train_retriever.train import train as train_retriever
from components.tune_hyperparameters.config import TuningConfig
from components.tune_hyperparameters.models import tunable
from components.tune_hyperparameters.tune import tune
from tests.benchmarks.quality.shops import go_on, shops
from tests.benchmarks.tables import provenance, write_table

SIDES = ("defaults", "tuned")
METRICS = {"retriever": RECALL, "ranker": NDCG}
"""Metric that each model's study maximises on the validation window."""
NAMES = {RECALL: "retriever: recall@20", NDCG: "ranker: NDCG@10"}


@dataclass(frozen=True, kw_only=True)
class Proof:
    """Settings of the comparison."""

    size: str
    """tiny, small or full."""
    trials: int
    """Trials of each study, the defaults included."""
    seeds: tuple[int, ...]
    """Seeds of the trainings compared at the end; the first is also the seed of the studies."""
    finalists: int = 3
    """Trials that, like the defaults, are trained again with other seeds before one is chosen."""
    models: tuple[str, ...] = tuple(METRICS)
    """Models to tune separately; the ranker is tuned on the default retriever."""


def measure(features: Path, root: Path, proof: Proof) -> dict[str, dict]:
    """Tune, train defaults and best with every seed, then evaluate on the test window.

    Returns:
        metric -> {validation, test}: side -> values [seeds], and `difference`: mean, low and high over shoppers.
    """
    values = {"retriever": _recalls, "ranker": _ndcgs}
    first = _retriever(features, root, "defaults", None, proof.seeds[0], proof)
    result = {}
    for model in proof.models:
        best = search(model, features, first if model == "ranker" else None, root, proof)
        found = [values[model](features, root, side, best, seed, proof) for side in SIDES for seed in proof.seeds]
        result[METRICS[model]] = {**compared(found), "validation": _validation(root, model, proof)}
    return result


def search(model: str, features: Path, retriever: Path | None, root: Path, proof: Proof) -> Hyperparameters:
    """Run the study of one model; finished trials of an earlier call are kept."""
    config = TuningConfig(trials=proof.trials, storage=str(root / "studies"), study=model, seed=proof.seeds[0],
                          others_ended=True, finalists=proof.finalists)  # fmt: skip
    with tunable(model, features, retriever, proof.size, proof.seeds[0]) as found:
        return tune(found, root / f"best-{model}", root / f"tuning-{model}.html", config)


def compared(values: list[np.ndarray], resamples: int = 2_000) -> dict:
    """Return the test values of both sides and the paired difference.

    Args:
        values: Values [shoppers] of each seed, first of the defaults, then of the tuned options.
        resamples: Bootstrap resamples of shoppers for the interval.
    """
    sides = np.stack(values).reshape(len(SIDES), -1, len(values[0]))
    # Shoppers are resampled; a shopper's value is the mean over seeds.
    difference = sides[1].mean(0) - sides[0].mean(0)
    draws = np.random.default_rng(0).integers(0, len(difference), (resamples, len(difference)))
    low, high = np.quantile(difference[draws].mean(1), [0.025, 0.975])
    return {
        "test": {side: sides[at].mean(1).tolist() for at, side in enumerate(SIDES)},
        "difference": {"mean": float(difference.mean()), "low": float(low), "high": float(high)},
        "shoppers": len(difference),
    }  # fmt: skip


def _retriever(
    features: Path, root: Path, side: str, best: Hyperparameters | None, seed: int, proof: Proof
) -> Path:  # fmt: skip
    """Train the retriever of a side; an existing one is kept."""
    folder = root / f"{side}-{seed}" / "retriever"
    if not folder.exists():
        config = RetrieverTraining.from_size(size_named(proof.size), seed)
        train_retriever(features, folder, retriever_space.configured(config, _found(best, side)))
    return folder


def _found(best: Hyperparameters | None, side: str) -> dict[str, str]:
    return {"hyperparameters": best.text} if best and side == "tuned" else {}


def _ndcgs(features: Path, root: Path, side: str, best: Hyperparameters, seed: int, proof: Proof) -> np.ndarray:
    """Return NDCG@10 of every test shopper for the whole system, on the default retriever: float64 [shoppers]."""
    retriever = _retriever(features, root, "defaults", None, seed, proof)
    folder = root / f"{side}-{seed}"
    if not (folder / "ranker").exists():
        config = RankerTraining.from_size(size_named(proof.size), seed)
        train_ranker(features, retriever, folder / "ranker",
                     ranker_space.configured(config, _found(best, side)))  # fmt: skip
    if not (folder / "evaluation").exists():
        evaluate(features, retriever, folder / "ranker", folder / "evaluation", folder / "evaluation.html",
                 EvaluationOptions.for_size(size_named(proof.size)))  # fmt: skip
    return model_ndcgs(folder)


def model_ndcgs(folder: Path) -> np.ndarray:
    """Return NDCG@10 of every test shopper for the model evaluated in this folder, float64 [shoppers]."""
    table = pq.read_table(folder / "evaluation" / "lists.parquet").to_pandas()
    chosen = table[(table.scope == "overall") & (table.method == "model")].sort_values("user_id")
    return chosen.ndcg_at_10.to_numpy()


def _recalls(features: Path, root: Path, side: str, best: Hyperparameters, seed: int, proof: Proof) -> np.ndarray:
    """Return the share of each test shopper's purchases in the retriever's top 20 of the catalog: float64 [shoppers].

    Computed as in validation.
    """
    k = 20
    spec = FeatureSpec.read(features / "spec.json")
    rows = Rows.read(features / "rows" / "test.parquet", spec)
    model = load_retriever(_retriever(features, root, side, best, seed, proof))
    vectors, biases = item_vectors(model, Catalog.read(features / "items.parquet", spec))
    keyed = keyed_jagged(rows.features, spec.user_features)
    users = model.user_vectors(keyed, torch.from_numpy(vectors)).detach().numpy()
    scores = users @ vectors.T + biases
    scores[:, 0] = -np.inf
    top = np.argpartition(-scores, k, 1)[:, :k]
    wanted = [set(rows.targets.take(np.array([at])).values.tolist()) for at in range(len(rows))]
    return np.array([len(items & set(best)) / min(len(items), k)
                     for items, best in zip(wanted, top.tolist(), strict=True)])  # fmt: skip


def _validation(root: Path, model: str, proof: Proof) -> dict[str, list[float]]:
    return {
        side: [max(point[METRICS[model]] for point in read_json(root / f"{side}-{seed}" / model / "curve.json"))
               for seed in proof.seeds] for side in SIDES
    }  # fmt: skip


def table(results: Mapping[str, Mapping[str, dict]]) -> str:
    """Return the result table in Markdown.

    Args:
        results: Data set -> result of `measure`.
    """
    lines = ["| data | test metric | validation, defaults | tuned | test, defaults | tuned | gain on test, 95 % |",
             "|---|---|---|---|---|---|---|"]  # fmt: skip
    for data, found in results.items():
        for metric, values in found.items():
            cells = [spread(values[part][side]) for part in ("validation", "test") for side in SIDES]
            gap, base = values["difference"], np.mean(values["test"]["defaults"])
            gain = f"{gap['mean']:+.4f} [{gap['low']:+.4f}, {gap['high']:+.4f}], {gap['mean'] / base:+.0%}"
            lines.append(f"| {data} | {NAMES[metric]} | {' | '.join(cells)} | {gain} |")
    return "\n".join(lines)


def facts(proof: Proof, results: Mapping[str, Mapping[str, dict]]) -> str:
    """Describe the method behind the table's figures."""
    again = f"its best {proof.finalists} and the defaults with 2 more; the best mean"
    finals = again if proof.finalists else "its best"
    shoppers = ", ".join(f"{max(metric['shoppers'] for metric in found.values()):,} of {name}"
                         for name, found in results.items())  # fmt: skip
    return (
        f"{proof.trials} trials of each study with one seed, {finals} is chosen, by validation alone. Then defaults "
        f"and best are trained with {len(proof.seeds)} seeds (mean ± deviation); the test window is asked once. Gain: "
        f"paired bootstrap over test shoppers ({shoppers}), each averaged over seeds."
    )


def spread(values: list[float]) -> str:
    """Format the mean and standard deviation over seeds for a table."""
    return f"{np.mean(values):.4f} ± {np.std(values, ddof=1) if len(values) > 1 else 0.0:.4f}"


def main() -> None:
    """Measure on every data set and write the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, help="holds online_retail_ii/online_retail_ii.parquet; else one shop")
    parser.add_argument("--out", type=Path, default=Path("out/tuning-proof"))
    parser.add_argument("--size", default="small")
    parser.add_argument("--trials", type=int, default=20)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--finalists", type=int, default=3, help="trained again before one is chosen; 0: none")
    parser.add_argument("--models", nargs="+", choices=METRICS, default=list(METRICS), help="tuned, each alone")
    parser.add_argument("--results", type=Path, default=Path("tests/benchmarks/quality/results"))
    given = parser.parse_args()
    proof = Proof(size=given.size, trials=given.trials, seeds=tuple(given.seeds), finalists=given.finalists,
                  models=tuple(given.models))  # fmt: skip
    results = {}
    for shop in shops(given.data):
        root = given.out.resolve() / shop.folder
        go_on(root, {"size": given.size, "trials": given.trials, "study_seed": given.seeds[0], "ranker": "on defaults",
                     "finalists": proof.finalists})  # fmt: skip
        results[shop.name] = measure(shop.features(root, given.size), root, proof)
    write_json(given.out / "proof.json", {"results": results, **dataclasses.asdict(proof)})
    command = shlex.join(["python -m tests.benchmarks.quality.tuning", *sys.argv[1:]]).replace("'", "")
    write_table(given.results, "tuning", f"{facts(proof, results)}\n\n{table(results)}\n\n{provenance(command)}")
    print(table(results))


if __name__ == "__main__":
    main()
