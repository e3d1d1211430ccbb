"""A query as input of the user tower: one function for training rows and live requests."""

from collections.abc import Mapping, Sequence

import numpy as np

from components.shared.features.ragged import Ragged, offsets_of
from components.shared.text.tokenizer import tokenize


def query_features(queries: Sequence[str | None], token_row: Mapping[str, int], length: int) -> Ragged:
    """Token ids of each query, whose weighted sum is their mean.

    Args:
        queries: One a row; None and texts without a token give a row of length 0.
        token_row: Row of every token of the title vocabulary; any other token is row 0.
        length: Tokens that are read; later ones are cut.
    """
    ids = [[token_row.get(token, 0) for token in tokenize(query or "")[:length]] for query in queries]
    flat = np.array([token for row in ids for token in row], np.int64)
    return Ragged.mean(offsets_of(np.array([len(row) for row in ids], np.int64)), flat)
