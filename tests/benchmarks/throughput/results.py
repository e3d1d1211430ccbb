"""The tables: samples per second of every variant, ratios to the best plain one, share of the GEMM ceiling."""

import dataclasses
from dataclasses import dataclass
from typing import Any

from components.shared.training.optimizer import When
from tests.benchmarks.throughput.profiling import bound


@dataclass(frozen=True, kw_only=True)
class Variant:
    """One row of the table."""

    measure: str
    """Name of a function of measures.py, or of a peer library."""
    label: str
    """Label in the table: model and optimisers."""
    precision: str
    """Precision of the dense layers."""
    processes: int
    """Number of processes, each with an equal part of the threads."""
    compiled: When = "gpu"
    """Devices on which the dense layers are compiled."""

    @property
    def name(self) -> str:
        """Name in throughput.json."""
        return f"{self.measure}-{self.processes}-{self.precision}" + "-compiled" * (self.compiled == "always")

    @property
    def plain(self) -> bool:
        """Whether the variant is plain torch."""
        return self.measure.startswith("plain")


_REFERENCE = "TorchRec's own DLRM, rows in memory: fused row-wise Adagrad + fused Adam"
_COMPILED = "`torch.compile` of the dense layers"
_PLAIN = (
    ("plain_bags", "plain torch: `nn.EmbeddingBag(sparse=True)` a feature, SparseAdam + fused Adam"),
    ("plain_flat", "plain torch: one flat sparse table, SparseAdam + fused Adam"),
    ("plain_adagrad", "plain torch: one flat sparse table, Adagrad + fused Adam"),
    ("plain_dense", "plain torch: one flat dense table, fused Adam"),
)
_PLAIN_COMPILED = ("plain_flat", "plain_dense")
"""The fastest sparse and the fastest dense variant, so that both sides of the comparison are compiled."""


def variants(peers: tuple[str, ...], precisions: tuple[str, ...], processes: int = 2) -> tuple[Variant, ...]:
    """Return all rows by precision: ours with one and several processes, plain torch, peers, and the ceiling."""
    found = []
    for precision in precisions:
        for count in (1, processes):
            label = f"shoprank, {count} process{'es' * (count > 1)}: TorchRec, fused row-wise Adagrad + fused Adam"
            found.append(Variant(measure="ours", label=label, precision=precision, processes=count))
        found.append(dataclasses.replace(found[-2], label=f"{found[-2].label}; {_COMPILED}", compiled="always"))
        if precision == "float32":
            found.append(Variant(measure="torchrec_dlrm", label=_REFERENCE, precision=precision, processes=1))
        for name, label in _PLAIN:
            found.append(Variant(measure=name, label=label, precision=precision, processes=1))
        found += [
            dataclasses.replace(row, label=f"{row.label}; {_COMPILED}", compiled="always")
            for row in found if row.measure in _PLAIN_COMPILED and row.precision == precision
        ]  # fmt: skip
        for count in (1, processes):
            label = f"ceiling, {count} process{'es' * (count > 1)}: the matrix products alone"
            found.append(Variant(measure="ceiling", label=label, precision=precision, processes=count))
    found += [
        Variant(measure=peer, label=f"{peer}: the same DLRM in its base class, its loop and Adam", precision="float32",
                processes=1)
        for peer in peers
    ]  # fmt: skip
    return tuple(found)


def gpu_variants(precisions: tuple[str, ...], gpus: int) -> tuple[Variant, ...]:
    """Return all rows on GPUs, with one process each: ours by precision, and TorchRec's own DLRM."""
    ours = "shoprank: TorchRec, fused row-wise Adagrad + fused Adam, compiled layers"
    return (
        *(Variant(measure="ours", label=ours, precision=one, processes=gpus) for one in precisions),
        Variant(measure="torchrec_dlrm", label=_REFERENCE, precision="float32", processes=gpus),
    )


def gpu_table(rows: tuple[Variant, ...], found: dict[str, dict]) -> str:
    """Return a Markdown table of samples per second, with ratios to TorchRec's own DLRM, the last row."""
    lines = ["| variant | GPUs | dense layers | samples/s (spread) | x TorchRec's DLRM | GPU memory |",
             "|---|---|---|---|---|---|"]  # fmt: skip
    base = speed(found[rows[-1].name])
    for row in rows:
        figures = found[row.name]
        low, high = figures["spread"]
        lines.append(
            f"| {row.label} | {row.processes} | {row.precision} | {speed(figures):,.0f} ({low:,.0f}-{high:,.0f}) "
            f"| {speed(figures) / base:.2f} | {figures['gpu_memory_mb'] / 1e3:.1f} GB |"
        )
    return "\n".join(lines)


def speed(figures: dict[str, Any]) -> float:
    """Return the samples per second, the median of the rounds."""
    return figures["samples_per_second"]


def best_plain(rows: tuple[Variant, ...], found: dict[str, dict], precision: str | None = None) -> float:
    """Return the samples per second of the fastest plain variant, of one precision or of all."""
    return max(
        speed(found[row.name]) for row in rows
        if row.plain and row.name in found and precision in {None, row.precision}
    )  # fmt: skip


def best_ceiling(rows: tuple[Variant, ...], found: dict[str, dict], precision: str) -> float:
    """Return the largest samples per second of the matrix products alone, over all numbers of processes."""
    return max(
        speed(found[row.name]) for row in rows
        if row.measure == "ceiling" and row.name in found and row.precision == precision
    )  # fmt: skip


def table(rows: tuple[Variant, ...], found: dict[str, dict]) -> str:
    """Return a Markdown table with ratios to the best plain variant of the same precision and of all."""
    lines = [
        "| variant | dense layers | samples/s (spread) | x best plain, same precision | x best plain of all "
        "| of the GEMM ceiling | peak memory |",
        "|---|---|---|---|---|---|---|",
    ]
    every = best_plain(rows, found)
    for row in rows:
        if row.name not in found:
            continue
        figures, same = found[row.name], best_plain(rows, found, row.precision)
        low, high = figures["spread"]
        share = speed(figures) / best_ceiling(rows, found, row.precision)
        lines.append(
            f"| {row.label} | {row.precision} | {speed(figures):,.0f} ({low:,.0f}-{high:,.0f}) "
            f"| {speed(figures) / same:.2f} | {speed(figures) / every:.2f} | {share:.0%} "
            f"| {figures['memory_mb'] / 1e3:.1f} GB |"
        )
    return "\n".join(lines)


def profile_table(profiles: dict[str, dict[str, float]]) -> str:
    """Return shares of one of our steps by precision, and the bottleneck of each."""
    names = list(next(iter(profiles.values())))
    lines = [f"| ours, rank 0 | {' | '.join(names)} |", "|---|" + "---|" * len(names)]
    lines += [
        f"| {precision} | {' | '.join(f'{shares[name]:.0%}' for name in names)} |"
        for precision, shares in profiles.items()
    ]
    return "\n".join(lines) + "\n\n" + "\n".join(f"{kind}: {bound(shares)}" for kind, shares in profiles.items())


def sequence_table(found: dict[str, dict]) -> str:
    """Return a Markdown table of sequences and tokens per second, with ratios to the padded SASRec."""
    base = speed(found["padded_sasrec"])
    lines = ["| sequence training, 1 process | sequences/s (spread) | tokens/s | x padded SASRec | peak memory |",
             "|---|---|---|---|---|"]  # fmt: skip
    labels = {
        "jagged_attention": "shoprank, causal self-attention on jagged tokens",
        "jagged_hstu": "shoprank, HSTU on jagged tokens (another model)",
        "padded_sasrec": "plain torch, padded SASRec of the same weights",
    }
    for name, label in labels.items():
        figures = found[name]
        low, high = figures["spread"]
        lines.append(
            f"| {label} | {speed(figures):,.0f} ({low:,.0f}-{high:,.0f}) "
            f"| {speed(figures) * figures['tokens_per_sample']:,.0f} | {speed(figures) / base:.2f} "
            f"| {figures['memory_mb'] / 1e3:.1f} GB |"
        )
    return "\n".join(lines)
