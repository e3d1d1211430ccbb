"""How the score of a search and the ranker's probability of a target event become the score of an item.

Either orders items within a class of search.Found alone: no probability lets an item that answers the query worse go
before one that answers it better, so a shopper's favourite never beats what was asked for.
"""

import numpy as np

LEXICAL_SHARE = 0.5
"""Weight of the score of the search where none was learned; the rest is the probability of a target event.

Both are first divided by the best candidate's value."""
_LEAST = 1e-30
_NEVER = 1e-6


def blended(search: np.ndarray, probability: np.ndarray, weight: float | None, known: bool) -> np.ndarray:
    """Scores of the candidates of one query, float [n], 0 to 1.

    Args:
        search: float32 [n], scores of the search, 0 for items that it did not find; at least one is above 0.
        probability: float32 [n], of a target event.
        weight: That of the log-odds beside the logarithm of the score of the search, see relevance.PERSONAL; None:
            none was learned.
        known: Whether anything is known of the shopper; if not, a learned weight does not apply.
    """
    relative = search / search.max()
    if weight is None:
        return LEXICAL_SHARE * relative + (1 - LEXICAL_SHARE) * probability / max(float(probability.max()), 1e-9)
    if not known:
        return relative
    score = np.log(np.maximum(relative.astype(np.float64), _LEAST)) + weight * log_odds(probability)
    return np.exp(score - score.max())


def log_odds(probability: np.ndarray) -> np.ndarray:
    """Log-odds of probabilities, float64, bounded as for odds of one to a million."""
    bounded = np.clip(probability.astype(np.float64), _NEVER, 1 - _NEVER)
    return np.log(bounded) - np.log1p(-bounded)
