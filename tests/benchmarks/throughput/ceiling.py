"""Upper bound from arithmetic alone: only the matrix products of a DLRM step, forward and backward."""

from itertools import pairwise

import torch

from tests.benchmarks.throughput.data import Shape


class Products:
    """Operands of every product of a step; results are written to preallocated memory.

    Odd widths are rounded up to whole vector registers, where products are faster despite the zeros. The first
    layer needs no gradient of its input, and one batched product computes the interaction's gradient.
    """

    def __init__(self, shape: Shape, batch: int, dtype: torch.dtype):
        vectors = shape.sparse + 1
        crossed = _rounded(vectors * (vectors - 1) // 2 + shape.dim)
        stacks = [[_rounded(shape.dense), *shape.bottom, shape.dim], [crossed, *shape.top, 1]]
        self.layers = []
        for stack in stacks:
            for inputs, outputs in pairwise(stack):
                x, w, y = (
                    torch.randn(size, dtype=dtype) for size in ((batch, inputs), (outputs, inputs), (batch, outputs))
                )
                self.layers.append((x, w, y, torch.empty_like(x), torch.empty_like(w), torch.empty_like(y)))
        self.vectors = torch.randn(batch, vectors, shape.dim, dtype=dtype)
        self.matrix = torch.randn(batch, vectors, vectors, dtype=dtype)

    def step(self, _: int) -> torch.Tensor:
        """Compute all products once."""
        for at, (x, w, y, to_x, to_w, to_y) in enumerate(self.layers):
            torch.mm(x, w.T, out=to_y)
            torch.mm(y.T, x, out=to_w)
            if at:
                torch.mm(y, w, out=to_x)
        torch.bmm(self.vectors, self.vectors.transpose(1, 2), out=self.matrix)
        return torch.bmm(self.matrix, self.vectors)


def _rounded(width: int) -> int:
    return -(-width // 16) * 16
