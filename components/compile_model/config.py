"""Options of compression and compilation; apart from the work, because torch takes seconds to import."""

from typing import Literal, Self

from pydantic import model_validator

from components.shared.options import Amount, Count, Fraction, Options, refused
from components.shared.recommender.runtime import Runtime
from components.shared.recommender.vector_index import EXACT_UP_TO

Storage = Literal["fp32", "fp16", "int8", "int4"]
"""How embedding rows are stored; int8 and int4 with a minimum and a scale a row (uniform, round to nearest)."""


class TableFormat(Options):
    """How embedding tables are exported."""

    storage: Storage = "int8"
    """Of the rows."""
    prune: bool = False
    """Whether rows without training are left out."""

    def row_bytes(self, dim: int) -> float:
        """Bytes of a row of `dim` values."""
        return {"fp32": 4.0 * dim, "fp16": 2.0 * dim, "int8": dim + 8.0, "int4": (dim + 1) // 2 + 4.0}[self.storage]


class Limits(Options):
    """What a compressed model may lose."""

    max_probability_difference: Fraction = 0.02
    """Largest difference of a probability that is accepted."""
    min_rank_overlap: Fraction = 0.95
    """Least mean share of the ten best items that both models agree on."""
    max_ndcg_loss: Fraction = 0.02
    """Largest share of the trained model's validation NDCG@10 that may be lost."""
    min_index_recall: Fraction = 0.95
    """Least share of the nearest items that an approximate index may find; below it the index is made exact."""
    shoppers: Count = 200
    """Shoppers of the validation split that are compared."""


class CompileOptions(Options):
    """How a trained model is compressed and compiled, and how close it must stay to the trained one."""

    table_format: Storage = "int8"
    """How embedding rows are stored: fp32, fp16, int8 or int4."""
    dense_format: Literal["fp32", "int8"] = "fp32"
    """Dense layers as fp32, or as int8 with inputs scaled as they come (onnxruntime's graphs only)."""
    prune: bool = False
    """Whether embedding rows without training are left out, where that saves more than the map to the kept ones costs.
    Their ids then read the unknown row, so answers differ wherever the random rows had an influence."""
    runtime: Runtime = "onnxruntime"
    """What the graphs are for: onnxruntime on any machine, or aotinductor's native code in torch (x86-64 with AVX2)."""
    limits: Limits = Limits()
    """What the compressed model may lose."""
    exact_index_up_to: Amount = EXACT_UP_TO
    """Larger catalogs get an approximate index."""
    timed_requests: Count = 100
    """Single requests that are timed."""

    @property
    def tables(self) -> TableFormat:
        """How embedding tables are exported."""
        return TableFormat(storage=self.table_format, prune=self.prune)

    @model_validator(mode="after")
    def _int8_layers_need_onnxruntime(self) -> Self:
        if (self.dense_format, self.runtime) == ("int8", "aotinductor"):
            raise refused("dense_format is 'int8' and runtime 'aotinductor'",
                          "int8 products are onnxruntime's: give dense_format=fp32 or runtime=onnxruntime")  # fmt: skip
        return self
