"""Costs and benefits of compression and distillation: size, time and test NDCG@10 of each form of one trained model.

`python -m tests.benchmarks.speed.compression --models out/bench` compares the models that `make bench` trained
and writes results/compression.md.
"""

import argparse
import dataclasses
from dataclasses import dataclass
from pathlib import Path

from components.compile_model.compile import compile_model
from components.compile_model.config import CompileOptions, Limits
from components.compile_model.parity import ndcg
from components.shared.errors import DataError
from components.shared.features.rows import Rows
from components.shared.recommender.candidates import CandidateConfig
from components.shared.recommender.offline import open_offline
from components.shared.recommender.recommender import Recommender
from components.shared.schema.sizes import size_named
from components.shared.storage import read_json, write_json
from components.train_ranker.config import RankerTraining
from components.train_ranker.distill import distil_pairs
from components.train_ranker.train import train, write_all_pairs
from tests.benchmarks.tables import provenance, write_table

_OPEN = Limits(max_probability_difference=1.0, min_rank_overlap=0.0, max_ndcg_loss=1.0)
"""Limits that pass everything, so that forms the gate would refuse are measured, too."""
FORMS = {
    "fp32": CompileOptions(table_format="fp32"),
    "fp32, untrained rows left out": CompileOptions(table_format="fp32", prune=True),
    "fp16": CompileOptions(table_format="fp16"),
    "int8 (the default)": CompileOptions(),
    "int4": CompileOptions(table_format="int4"),
    "int8, untrained rows left out": CompileOptions(prune=True),
    "int8, dense layers int8": CompileOptions(dense_format="int8"),
    "fp32, AOTInductor": CompileOptions(table_format="fp32", runtime="aotinductor"),
    "int8, AOTInductor": CompileOptions(runtime="aotinductor"),
}


@dataclass(frozen=True)
class Inputs:
    """Folders of one trained model.

    Attributes:
        features: Output of build_features.
        retriever: Output of train_retriever.
        ranker: Output of train_ranker.
        statistics: Output of validate_data.
    """

    features: Path
    retriever: Path
    ranker: Path
    statistics: Path


def measured(inputs: Inputs, out: Path, config: CompileOptions) -> dict[str, float | str]:
    """Compile one form and measure it; `gate` names the default limits that it fails, '' if none."""
    figures = compile_model(
        inputs.features, inputs.retriever, inputs.ranker, inputs.statistics, out,
        config.replace(limits=_OPEN),
    )  # fmt: skip
    limits = Limits()
    held = {
        "probability": figures["max_probability_difference"] <= limits.max_probability_difference,
        "overlap": figures["rank_overlap_at_10"] >= limits.min_rank_overlap,
        "NDCG": figures["ndcg_at_10_compiled"] >= figures["ndcg_at_10_trained"] * (1 - limits.max_ndcg_loss),
    }
    candidates = CandidateConfig(**read_json(inputs.ranker / "candidates.json"))
    then = open_offline(inputs.features, inputs.retriever, inputs.ranker, candidates, "test")
    served = dataclasses.replace(Recommender.open(out), statistics=then.statistics, neighbours=then.neighbours)
    rows = Rows.read(inputs.features / "rows" / "test.parquet", then.spec)
    gate = ", ".join(name for name, passed in held.items() if not passed)
    return {**figures, "gate": gate, "test_ndcg": ndcg(served, rows), "trained_test_ndcg": ndcg(then, rows)}


def distilled(inputs: Inputs, out: Path, size: str) -> dict[str, Inputs]:
    """Train a large ranker, a small one, and the same small one distilled from the large one."""
    dial = RankerTraining.from_size(size_named(size), 0)
    large = dial.replace(embedding_dim=dial.embedding_dim * 2, hidden_dim=dial.hidden_dim * 4)
    small = dial.replace(embedding_dim=dial.embedding_dim // 4, hidden_dim=dial.hidden_dim // 4)
    write_all_pairs(inputs.features, inputs.retriever, out / "pairs", dial)
    train(inputs.features, inputs.retriever, out / "large", large, pairs=out / "pairs")
    distil_pairs(inputs.features, (inputs.retriever, out / "large"), out / "pairs", out / "soft")
    train(inputs.features, inputs.retriever, out / "small", small, pairs=out / "pairs")
    train(inputs.features, inputs.retriever, out / "taught", small, pairs=out / "soft")
    names = {"large": "large ranker", "small": "small ranker", "taught": "small ranker, taught by the large one"}
    return {title: dataclasses.replace(inputs, ranker=out / name) for name, title in names.items()}


def table(found: dict[str, dict[str, float | str]]) -> str:
    """Return the result table in Markdown."""
    lines = ["| form | graphs | test NDCG@10 | change | overlap@10 | one answer, median (p99) | gate |",
             "|---|---|---|---|---|---|---|"]  # fmt: skip
    for name, figures in found.items():
        value, trained = float(figures["test_ndcg"]), float(figures["trained_test_ndcg"])
        gate = f"refused: {figures['gate']}" if figures["gate"] else "passes"
        lines.append(
            f"| {name} | {float(figures['compiled_mb']):.2f} MB | {value:.4f} | {value / trained - 1:+.2%} | "
            f"{float(figures['rank_overlap_at_10']):.4f} | {float(figures['single_p50_ms']):.1f} ms "
            f"({float(figures['single_p99_ms']):.1f} ms) | {gate} |"
        )
    return "\n".join(lines)


def main() -> None:
    """Measure every form and write the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--models", type=Path, default=Path("out/bench"), help="folder that `make bench` left")
    parser.add_argument("--size", default="small", help="the size that they were trained with")
    parser.add_argument("--out", type=Path, default=Path("out/compression"))
    parser.add_argument("--results", type=Path, default=Path("tests/benchmarks/speed/results"))
    arguments = parser.parse_args()
    root, out = arguments.models.resolve(), arguments.out.resolve()
    inputs = Inputs(root / "features", root / "retriever", root / "ranker", root / "statistics")
    if not inputs.ranker.is_dir():
        raise DataError(f"{inputs.ranker} is not there", "run `python -m tests.benchmarks.speed.bench` first")
    found = {}
    for at, (name, config) in enumerate(FORMS.items()):
        found[name] = measured(inputs, out / f"form-{at}", config)
    for name, other in distilled(inputs, out, arguments.size).items():
        found[f"{name}, fp32"] = measured(other, out / other.ranker.name / "compiled", FORMS["fp32"])
    write_json(out / "compression.json", found)
    facts = f"Complete Journey, size {arguments.size}; change and overlap are against the same model as it was trained."
    text = f"{table(found)}\n\n{facts}\n\n{provenance('python -m tests.benchmarks.speed.compression')}"
    write_table(arguments.results, "compression", text)
    print(text)


if __name__ == "__main__":
    main()
