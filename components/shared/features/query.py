"""Queries as input of the user tower; training rows and live requests share this code."""

from collections.abc import Mapping, Sequence

import numpy as np

from components.shared.features.ragged import Ragged, offsets_of
from components.shared.text.tokenizer import tokenize


def query_features(queries: Sequence[str | None], token_row: Mapping[str, int], length: int) -> Ragged:
    """Token ids of each query, weighted so that their weighted sum is the mean.

    Args:
        queries: One per row; None and texts without tokens give empty rows.
        token_row: Row of every token in the title vocabulary; other tokens are mapped to row 0.
        length: Maximum number of tokens; longer queries are truncated.
    """
    ids = [[token_row.get(token, 0) for token in tokenize(query or "")[:length]] for query in queries]
    flat = np.array([token for row in ids for token in row], np.int64)
    return Ragged.mean(offsets_of(np.array([len(row) for row in ids], np.int64)), flat)
