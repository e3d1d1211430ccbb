"""How a model is compressed and what that may cost it; apart from the work, because torch takes seconds to import."""

import dataclasses
from dataclasses import dataclass
from typing import Literal, cast, get_args

from components.shared.config_fields import Count, Rate
from components.shared.errors import InputError
from components.shared.models.variants import fields_from_json, json_object
from components.shared.recommender.runtime import Runtime
from components.shared.recommender.vector_index import EXACT_UP_TO

Precision = Literal["fp32", "fp16", "int8", "int4"]
DensePrecision = Literal["fp32", "int8"]


@dataclass(frozen=True, kw_only=True)
class TableFormat:
    """How tables are stored."""

    precision: Precision = "int8"
    """Of the rows; int8 and int4 with a minimum and a scale a row (uniform, round to nearest)."""
    prune: bool = False
    """Whether rows without training are left out, where that saves more than the map to the kept ones costs. Their ids
    then read the unknown row, so answers differ from the trained model's wherever its random rows had a say."""

    def row_bytes(self, dim: int) -> float:
        """Bytes of a row."""
        return {"fp32": 4.0 * dim, "fp16": 2.0 * dim, "int8": dim + 8.0, "int4": (dim + 1) // 2 + 4.0}[self.precision]


@dataclass(frozen=True, kw_only=True)
class Limits:
    """What a compressed model may lose."""

    max_probability_difference: Rate = 0.02
    """Largest difference of a probability that is accepted."""
    min_rank_overlap: Rate = 0.95
    """Least mean share of the ten best items that both models agree on."""
    max_ndcg_loss: Rate = 0.02
    """Largest share of the trained model's validation NDCG@10 that may be lost."""
    min_index_recall: Rate = 0.95
    """Least share of the nearest items that an approximate index may find; below it the index is made exact."""
    shoppers: Count = 200
    """Shoppers of the validation split that are compared."""


@dataclass(frozen=True, kw_only=True)
class CompileConfig:
    """How the model is compressed and how close it must stay to the trained one."""

    tables: TableFormat = dataclasses.field(default_factory=TableFormat)
    """How embedding rows are stored."""
    dense: DensePrecision = "fp32"
    """Dense layers as fp32, or as int8 with inputs scaled as they come (onnxruntime's graphs only)."""
    runtime: Runtime = "onnxruntime"
    """What the graphs are for: onnxruntime on any machine, or AOTInductor's native code in torch."""
    limits: Limits = dataclasses.field(default_factory=Limits)
    """What the compressed model may lose."""
    exact_index_up_to: int = EXACT_UP_TO
    """Larger catalogs get an approximate index."""
    timed_requests: int = 100
    """Single requests that are timed."""

    def __post_init__(self) -> None:
        if (self.dense, self.runtime) == ("int8", "aotinductor"):
            raise InputError(
                "dense_precision is 'int8' and runtime 'aotinductor'",
                "int8 products are onnxruntime's; give dense_precision=fp32, or runtime=onnxruntime",
            )


def config_for(
    precision: str, dense_precision: str = "fp32", prune: bool = False, runtime: str = "onnxruntime", limits: str = ""
) -> CompileConfig:
    """Precisions and runtime given as text, limits as JSON; `prune` leaves rows without training out.

    Raises:
        InputError: there is no such precision, runtime or limit, or not both together.
    """
    for name, value, known in (
        ("precision", precision, Precision),
        ("dense_precision", dense_precision, DensePrecision),
        ("runtime", runtime, Runtime),
    ):
        if value not in get_args(known):
            raise InputError(f"{name} is '{value}'", f"use one of: {', '.join(get_args(known))}")
    tables = TableFormat(precision=cast(Precision, precision), prune=prune)
    allowed = fields_from_json(Limits(), json_object(limits, "limits"), "limits")
    return CompileConfig(tables=tables, dense=cast(DensePrecision, dense_precision), runtime=cast(Runtime, runtime),
                         limits=allowed)  # fmt: skip
