"""Published results; they are shown next to ours only if the counts of interactions, queries and items are equal."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Published:
    """A row of a published table.

    Attributes:
        method: Name of the method.
        values: Values of the layout's metrics, in their order.
        source: Source of the values.
    """

    method: str
    values: tuple[float, float]
    source: str


_ICLREC = "ICLRec README"
_S3REC = "S3-Rec README"
_MEMORY = "GCE-GNN paper, quoted from memory"
_LIGHTGCN = "LightGCN-PyTorch README"

_TABLES = {
    (198_502, 22_363, 12_101): (
        Published("GRU4Rec", (0.0283, 0.0137), _S3REC),
        Published("SASRec", (0.0605, 0.0318), _S3REC),
        Published("S3-Rec", (0.0647, 0.0327), _S3REC),
        Published("ICLRec", (0.0744, 0.0403), _ICLREC),
    ),
    (906_140, 60_858, 43_097): (
        Published("Item-KNN", (0.3575, 0.1157), _MEMORY),
        Published("NARM", (0.4832, 0.1600), _MEMORY),
        Published("SR-GNN", (0.5126, 0.1778), _MEMORY),
        Published("GCE-GNN", (0.5422, 0.1904), _MEMORY),
    ),
    (810_128, 29_858, 40_981): (
        Published("ItemKNN", (0.1570, 0.1214), "Open-CF-Benchmark"),
        Published("LightGCN, 3 layers", (0.1824, 0.1547), _LIGHTGCN),
    ),
}


def published(counts: tuple[int, int, int]) -> tuple[Published, ...]:
    """Return rows of the data set with these counts of interactions, test queries and items; none if unknown."""
    return _TABLES.get(counts, ())
