"""Options of compression and compilation."""

from typing import Literal, Self

from pydantic import model_validator

from components.shared.options import Amount, Count, Fraction, Options, refused
from components.shared.recommender.runtime import Runtime
from components.shared.recommender.vector_index import EXACT_UP_TO
from components.shared.search.config import SearchOptions

Storage = Literal["fp32", "fp16", "int8", "int4"]
"""Format of stored embedding rows; int8 and int4 with a minimum and a scale per row (uniform, round to nearest)."""


class TableFormat(Options):
    """How embedding tables are exported."""

    storage: Storage = "int8"
    """Format of the rows."""
    prune: bool = False
    """Whether untrained rows are dropped."""

    def row_bytes(self, dim: int) -> float:
        """Return the bytes of a row of `dim` values."""
        return {"fp32": 4.0 * dim, "fp16": 2.0 * dim, "int8": dim + 8.0, "int4": (dim + 1) // 2 + 4.0}[self.storage]


class Limits(Options):
    """Limits of the loss by compression."""

    max_probability_difference: Fraction = 0.02
    """Maximum difference of a probability."""
    min_rank_overlap: Fraction = 0.95
    """Minimum mean overlap of the ten best items of both models."""
    max_ndcg_loss: Fraction = 0.02
    """Maximum relative loss of validation NDCG@10."""
    min_index_recall: Fraction = 0.95
    """Minimum recall of an approximate index; below it an exact index is used."""
    shoppers: Count = 200
    """Number of validation shoppers for the comparison."""


class CompileOptions(Options):
    """Options of compression and compilation."""

    table_format: Storage = "int8"
    """How embedding rows are stored: fp32, fp16, int8 or int4."""
    dense_format: Literal["fp32", "int8"] = "fp32"
    """Dense layers as fp32, or as int8 with dynamically scaled inputs (onnxruntime only)."""
    prune: bool = False
    """Whether to drop untrained embedding rows if that saves space. Their ids are mapped to the unknown row, which
    changes answers where the random rows had an influence."""
    runtime: Runtime = "onnxruntime"
    """Runtime of the models: onnxruntime on any machine, or aotinductor (native code in torch, x86-64 with AVX2)."""
    limits: Limits = Limits()
    """Limits of the loss by compression."""
    exact_index_up_to: Amount = EXACT_UP_TO
    """Catalog size up to which search is exact."""
    search: SearchOptions = SearchOptions()
    """Options of the search."""
    timed_requests: Count = 100
    """Number of timed single requests."""

    @property
    def tables(self) -> TableFormat:
        """How embedding tables are exported."""
        return TableFormat(storage=self.table_format, prune=self.prune)

    @model_validator(mode="after")
    def _int8_layers_need_onnxruntime(self) -> Self:
        if (self.dense_format, self.runtime) == ("int8", "aotinductor"):
            raise refused("dense_format is 'int8' and runtime 'aotinductor'",
                          "int8 layers need onnxruntime: set dense_format=fp32 or runtime=onnxruntime")  # fmt: skip
        return self
