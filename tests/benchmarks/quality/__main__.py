"""Quality on all transactions: several seeds on a strictly later test window, pooled by shopper.

`make quality` writes a table for each shop to results/, with command, commit, hardware and date.
"""

import argparse
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq

from components.evaluate_model.config import BootstrapConfig, EvaluationOptions
from components.evaluate_model.evaluate import evaluate
from components.shared.schema.sizes import size_named
from components.shared.storage import read_json, write_json
from components.train_ranker.config import RankerTraining
from components.train_ranker.train import train as train_ranker
from components.train_retriever.config import RetrieverTraining
from components.train_retriever.train import train as train_retriever
from tests.benchmarks.quality.shops import Shop, go_on, shops
from tests.benchmarks.tables import provenance, write_table

MODEL = "model"
SHOWN = ("ndcg_at_10", "recall_at_20")
SCOPES = {"overall": "all purchases", "first": "first-time purchases"}


def run_seed(root: Path, features: Path, seed: int, size: str) -> Path:
    """Train and evaluate with one seed; existing outputs are kept."""
    folder = root / f"seed-{seed}"
    dial = size_named(size)
    if not (folder / "retriever").exists():
        train_retriever(features, folder / "retriever", RetrieverTraining.from_size(dial, seed))
    if not (folder / "ranker").exists():
        config = RankerTraining.from_size(dial, seed)
        train_ranker(features, folder / "retriever", folder / "ranker", config)
    if not (folder / "evaluation").exists():
        evaluate(features, folder / "retriever", folder / "ranker", folder / "evaluation", folder / "evaluation.html",
                 EvaluationOptions.for_size(size_named(size)))  # fmt: skip
    return folder / "evaluation"


def pooled(evaluations: list[Path], resamples: int = 2_000) -> dict[str, dict]:
    """Return the mean and spread over seeds, and paired intervals over shoppers with metrics averaged over seeds.

    Returns:
        scope -> method -> metric -> {mean, seeds_std, difference, low, high}; the difference of the model is 0.
    """
    tables = [pq.read_table(path / "lists.parquet").to_pandas() for path in evaluations]
    random = np.random.default_rng(0)
    result: dict[str, dict] = {}
    for scope in SCOPES:
        parts = [table[table.scope == scope].set_index(["method", "user_id"]) for table in tables]
        methods = [name for name in parts[0].index.get_level_values(0).unique() if name != "champion"]
        draws = None
        result[scope] = {}
        for method in [MODEL, *(name for name in methods if name != MODEL)]:
            result[scope][method] = {}
            for metric in SHOWN:
                values = np.stack([part.loc[method][metric].sort_index().to_numpy() for part in parts])
                model = np.stack([part.loc[MODEL][metric].sort_index().to_numpy() for part in parts])
                if draws is None:
                    draws = random.integers(0, values.shape[1], (resamples, values.shape[1]))
                difference = (model - values).mean(0)
                low, high = np.quantile(difference[draws].mean(1), [0.025, 0.975])
                result[scope][method][metric] = {
                    "mean": float(values.mean()),
                    "seeds_std": float(values.mean(1).std(ddof=1)) if len(values) > 1 else 0.0,
                    "difference": float(difference.mean()), "low": float(low), "high": float(high),
                }  # fmt: skip
    return result


def table(result: dict[str, dict]) -> str:
    """Return the result table in Markdown."""
    lines = []
    for scope, title in SCOPES.items():
        lines += [f"**{title}**", "", "| method | NDCG@10 | model minus it, 95 % | Recall@20 | model minus it, 95 % |",
                  "|---|---|---|---|---|"]  # fmt: skip
        for method, metrics in result[scope].items():
            cells = []
            for metric in SHOWN:
                found = metrics[metric]
                spread = f" ± {found['seeds_std']:.4f}" if method == MODEL else ""
                gap = "" if method == MODEL else f"+{found['difference']:.4f} [{found['low']:.4f}, {found['high']:.4f}]"
                cells += [f"{found['mean']:.4f}{spread}", gap.replace("+-", "-")]
            name = "**shoprank**" if method == MODEL else method
            lines.append(f"| {name} | {' | '.join(cells)} |")
        lines.append("")
    return "\n".join(lines)


def measured(shop: Shop, root: Path, size: str, seeds: list[int]) -> str:
    """Run every seed on one shop and write quality.json under `root`.

    Returns:
        The shop's text and table.
    """
    go_on(root, {"size": size})
    features = shop.features(root, size)
    evaluations = [run_seed(root, features, seed, size) for seed in seeds]
    result = pooled(evaluations, BootstrapConfig().resamples)
    split = read_json(evaluations[0] / "metrics.json")["split"]
    write_json(root / "quality.json", {"result": result, "split": split, "seeds": seeds})
    window, new = f"{split['from'][:10]} to {split['to'][:10]}", f"{split['first_share']:.0%}"
    facts = (
        f"{shop.name}: {split['shoppers']:,} shoppers, {split['targets']:,} purchases from {window} ({new} of them "
        f"new to the shopper), ranked among all {split['items']:,} products; all models learned from earlier events. "
        f"Mean over {len(seeds)} seeds ± their deviation; intervals by paired bootstrap over shoppers."
    )
    return f"{facts}\n\n{table(result)}"


def main() -> None:
    """Run every shop and write a table for each."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("out/quality"))
    parser.add_argument("--data", type=Path, help="holds online_retail_ii/online_retail_ii.parquet; else one shop")
    parser.add_argument("--size", default="full")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--results", type=Path, default=Path("tests/benchmarks/quality/results"))
    arguments = parser.parse_args()
    for shop in shops(arguments.data):
        text = measured(shop, arguments.out.resolve() / shop.folder, arguments.size, arguments.seeds)
        text = (
            f"{text}\n{provenance('make quality' if arguments.data is None else 'make quality DATA=../shared/data')}\n"
        )
        write_table(arguments.results, f"quality-{shop.folder}", text)
        print(text)


if __name__ == "__main__":
    main()
