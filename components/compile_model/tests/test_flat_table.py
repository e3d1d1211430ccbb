"""The single embedding table of compiled models: every precision, untrained rows, any width."""

import torch

from components.compile_model.config import TableFormat
from components.compile_model.flat_table import FlatTable, SparseTables
from components.shared.features.spec import SparseFeature


def test_untrained_rows_are_pruned_and_read_as_the_unknown_row():
    torch.manual_seed(0)
    weights = [torch.randn(50, 8), torch.randn(30, 8)]
    features = (SparseFeature(name="a", rows=50, max_length=2), SparseFeature(name="b", rows=30, max_length=1))
    trained = torch.zeros(50, dtype=torch.bool)
    trained[[3, 7]] = True
    tables = SparseTables(weights, features, [trained, None])
    for precision in ("fp32", "fp16", "int8", "int4"):
        whole = FlatTable(tables, TableFormat(storage=precision))
        small = FlatTable(tables, TableFormat(storage=precision, prune=True))
        kept = whole if precision == "int4" else small
        assert (whole.pruned, kept.pruned) == (0, 0 if precision == "int4" else 47)
        ids, ones = torch.tensor([[3, 7, 0], [0, 3, 29], [7, 7, 12]]), torch.ones(3, 3)
        torch.testing.assert_close(kept(ids, ones), whole(ids, ones))
        if precision != "int4":
            assert len(small.rows) == 33
            unknown = torch.tensor([[0, 0, 5]])
            torch.testing.assert_close(small(torch.tensor([[44, 2, 5]]), ones[:1]), whole(unknown, ones[:1]))


def test_int4_rows_are_within_half_a_level_for_any_width():
    torch.manual_seed(0)
    for dim in (1, 5, 8):
        table = torch.randn(20, dim)
        flat = FlatTable(
            SparseTables([table], (SparseFeature(name="a", rows=20, max_length=1),), [None]),
            TableFormat(storage="int4"),
        )
        found = flat.rows_of(torch.arange(20)[:, None])[:, 0]
        level = (table.amax(1, keepdim=True) - table.amin(1, keepdim=True)) / 15
        assert ((found - table).abs() <= 0.55 * level + 2e-3).all()
        assert flat.rows.shape == (20, (dim + 1) // 2)
