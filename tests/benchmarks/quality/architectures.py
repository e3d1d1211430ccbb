"""Comparison of rankers by shop: every interaction and all kinds of heads on the same candidates, several seeds each.

`python -m tests.benchmarks.quality.architectures --data DATA` writes results/architectures.md;
finished parts in `--out` are kept, so a stopped run can be resumed.
"""

import shlex
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from components.evaluate_model.config import EvaluationOptions
from components.evaluate_model.evaluate import evaluate
from components.shared.models.ranker_options import (
    ConcatConfig,
    CrossConfig,
    DotConfig,
    FactorizationConfig,
    MmoeConfig,
    PleConfig,
    RankerArchitecture,
    SingleTaskConfig,
    TargetAttentionConfig,
)
from components.shared.schema.sizes import size_named
from components.shared.storage import read_json, write_json
from components.shared.training.curve import REFIT, best_point
from components.train_ranker.config import RankerTraining
from components.train_ranker.job import METRIC
from components.train_ranker.train import train as train_ranker
from components.train_ranker.train import write_all_pairs
from components.train_retriever.config import RetrieverTraining
from components.train_retriever.train import train as train_retriever
from tests.benchmarks.quality.shops import go_on, shop_arguments, shops
from tests.benchmarks.quality.tuning import compared, model_ndcgs, spread
from tests.benchmarks.tables import provenance, write_table

DEFAULT = "DLRM, shared bottom"
ONCE = "DLRM, without refit"
KINDS: dict[str, dict[str, Any]] = {
    DEFAULT: {},
    "DCN V2": {"interaction": CrossConfig()},
    "DeepFM": {"interaction": FactorizationConfig()},
    "vectors side by side": {"interaction": ConcatConfig()},
    "DIN (side by side, target attention)": {
        "interaction": ConcatConfig(), "attention": TargetAttentionConfig()},
    "DLRM, target attention": {"interaction": DotConfig(), "attention": TargetAttentionConfig()},
    "DLRM, single tasks": {"heads": SingleTaskConfig()},
    "DLRM, MMoE": {"heads": MmoeConfig()},
    "DLRM, PLE": {"heads": PleConfig()},
    ONCE: {"refit": False},
}  # fmt: skip
"""Name -> fields of RankerArchitecture, or `refit` of RankerTraining."""


def measured(features: Path, root: Path, size: str, seeds: list[int], kinds: list[str]) -> dict[str, dict]:
    """Train and evaluate every kind with every seed on one retriever's candidates.

    Returns:
        kind -> {validation: values [seeds], test: values [seeds], seconds: training times [seeds]; difference and
        shoppers: see tuning.compared}; the difference of the default is 0.
    """
    pairs = root / "pairs"
    base = RankerTraining.from_size(size_named(size), 0)
    if not (root / "retriever").exists():
        train_retriever(features, root / "retriever", RetrieverTraining.from_size(size_named(size), 0))
    if not pairs.exists():
        write_all_pairs(features, root / "retriever", pairs, base)
    found: dict[str, list[np.ndarray]] = {}
    result = {}
    for number, kind in enumerate(kinds):
        folders = [root / f"kind-{number}-seed-{seed}" for seed in seeds]
        for folder, seed in zip(folders, seeds, strict=True):
            parts = {name: value for name, value in KINDS[kind].items() if name != "refit"}
            config = base.replace(
                architecture=RankerArchitecture().replace(**parts),
                optimizer=base.optimizer.replace(seed=seed), refit=KINDS[kind].get("refit", base.refit),
            )  # fmt: skip
            _run(features, root, folder, config, size)
        found[kind] = [model_ndcgs(folder) for folder in folders]
        curves = [read_json(folder / "ranker" / "curve.json") for folder in folders]
        refits = [read_json(folder / "ranker" / REFIT) for folder in folders]
        test = compared([*found[DEFAULT], *found[kind]])
        result[kind] = {
            "validation": [best_point(curve, METRIC)[METRIC] for curve in curves], "test": test["test"]["tuned"],
            "seconds": [curve[-1]["seconds"] + sum(point["seconds"] for point in refit[-1:])
                        for curve, refit in zip(curves, refits, strict=True)],
            "difference": test["difference"], "shoppers": test["shoppers"],
        }  # fmt: skip
    return result


def _run(features: Path, root: Path, folder: Path, config: RankerTraining, size: str) -> None:
    if not (folder / "ranker").exists():
        train_ranker(features, root / "retriever", folder / "ranker", config, pairs=root / "pairs")
    if not (folder / "evaluation").exists():
        evaluate(features, root / "retriever", folder / "ranker", folder / "evaluation", folder / "evaluation.html",
                 EvaluationOptions.for_size(size_named(size)))  # fmt: skip


def table(results: Mapping[str, Mapping[str, dict]]) -> str:
    """Return the result table in Markdown.

    Args:
        results: Shop -> result of `measured`.
    """
    lines = ["| shop | ranker | validation NDCG@10 | test NDCG@10 | test, minus the default, 95 % | training |",
             "|---|---|---|---|---|---|"]  # fmt: skip
    for shop, kinds in results.items():
        for kind, values in kinds.items():
            gap = values["difference"]
            gain = "" if kind == DEFAULT else f"{gap['mean']:+.4f} [{gap['low']:+.4f}, {gap['high']:+.4f}]"
            seconds = f"{np.median(values['seconds']):.0f} s"
            lines.append(
                f"| {shop} | {kind} | {spread(values['validation'])} | {spread(values['test'])} | {gain} | {seconds} |"
            )
    return "\n".join(lines)


def main() -> None:
    """Measure on every shop and write the table."""
    given = shop_arguments(__doc__, Path("out/architectures")).parse_args()
    results = {}
    for shop in shops(given.data):
        root = given.out.resolve() / shop.folder
        go_on(root, {"size": given.size, "kinds": list(KINDS)})
        results[shop.name] = measured(shop.features(root, given.size), root, given.size, given.seeds, list(KINDS))
    write_json(given.out / "architectures.json", {"results": results, "size": given.size, "seeds": given.seeds})
    shoppers = ", ".join(f"{found[DEFAULT]['shoppers']:,} of {name}" for name, found in results.items())
    facts = (
        f"Size {given.size}, {len(given.seeds)} seeds of the ranker (mean ± deviation) on one retriever's candidates, "
        f"all with the default's settings; difference by paired bootstrap over test shoppers ({shoppers}), each "
        "averaged over seeds. Training: in one process, with the validation of each epoch and the refit; the median "
        "of the seeds."
    )
    command = shlex.join(["python -m tests.benchmarks.quality.architectures", *sys.argv[1:]]).replace("'", "")
    write_table(given.results, "architectures", f"{facts}\n\n{table(results)}\n\n{provenance(command)}")
    print(table(results))


if __name__ == "__main__":
    main()
