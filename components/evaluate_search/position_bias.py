"""Position bias of clicks: how likely each position is examined, told from items that were shown at several.

    P(click) = P(examined | position) * P(wanted | query, item)

Source: Wang et al., Position Bias Estimation for Unbiased Learning to Rank in Personal Search (WSDM 2018). The model is
that of components/shared/models/examination.py, here with a free parameter for every query and item.
"""

from collections.abc import Mapping

import numpy as np
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from components.evaluate_search.click_grades import Counts

Shown = Mapping[int, Counts]
"""Position, from 1, where an item was shown for a query -> clicks and impressions there; 0: it is not known where."""

_PRIOR_DEVIATION = 10.0
"""Standard deviation of the normal priors of the logits, of P(wanted) around that of all clicks: so wide that they
change what has hardly any data alone."""
_STEPS = 400


def examined_positions(items: Mapping[tuple[str, str], Shown]) -> dict[int, float]:
    """P(examined) of the positions relative to the first of them, 0 to 1; {} if it cannot be told.

    Only an item with a click that was shown at several positions for the same query tells one position from another. A
    position that no such items compare with the most shown ones has the value of the nearest such position above it.

    Args:
        items: Query and item -> where it was shown.
    """
    telling = [shown for shown in items.values() if len(shown) > 1 and any(clicks for clicks, _ in shown.values())]
    if not telling:
        return {}
    rows = [
        (at, place, clicks, seen or 0.0) for at, shown in enumerate(telling) for place, (clicks, seen) in shown.items()
    ]
    pair, position, clicks, impressions = (np.array(column) for column in zip(*rows, strict=True))
    places, place = np.unique(position.astype(np.int64), return_inverse=True)
    group = _compared(pair, place, len(telling), len(places))
    most = np.argmax(np.bincount(group, weights=impressions))
    kept = group == most
    known, code = np.unique(place[kept], return_inverse=True)
    _, pair = np.unique(pair[kept], return_inverse=True)
    clicked = np.minimum(clicks[kept] / np.maximum(impressions[kept], 1), 1)
    found = _fitted(pair, code, clicked, impressions[kept])
    everywhere = sorted({place for shown in items.values() for place in shown})
    nearest = np.maximum(np.searchsorted(places[known], everywhere, side="right") - 1, 0)
    return dict(zip(everywhere, found[nearest].tolist(), strict=True))


def examined_counts(shown: Shown, examined: Mapping[int, float]) -> Counts:
    """Clicks of an item, and the impressions of it that were examined.

    Args:
        shown: Where it was shown.
        examined: See examined_positions; {}: every impression counts.
    """
    clicks = sum(clicks for clicks, _ in shown.values())
    seen = [None if seen is None else seen * examined.get(place, 1.0) for place, (_, seen) in shown.items()]
    return clicks, None if None in seen else sum(filter(None, seen))


def _compared(pair: np.ndarray, place: np.ndarray, pairs: int, places: int) -> np.ndarray:
    """Group of each row; positions of one group are compared by items, directly or by way of others."""
    ones = np.ones(len(pair))
    _, group = connected_components(coo_array((ones, (pair, pairs + place)), shape=(pairs + places,) * 2), False)
    return group[pair]


def _fitted(pair: np.ndarray, code: np.ndarray, clicked: np.ndarray, impressions: np.ndarray) -> np.ndarray:
    """P(examined) of positions 0, 1, ..., float64, by maximum a posteriori.

    Args:
        pair: int64 [rows], query and item.
        code: int64 [rows], position from 0.
        clicked: float64 [rows], share of the impressions with a click.
        impressions: float64 [rows].
    """
    # Files of grades, and clicks without positions, are read without torch.
    import torch

    from components.shared.models.examination import Examination, click_loss

    examination = Examination(int(code.max()) + 1).double()
    rate = (clicked @ impressions + 1) / (impressions.sum() + 2)
    usual = float(np.log(rate / (1 - rate)))
    wanted = torch.zeros(int(pair.max()) + 1, dtype=torch.float64, requires_grad=True)
    rows, positions = torch.from_numpy(pair), torch.from_numpy(code) + 1
    label, weight = torch.from_numpy(clicked), torch.from_numpy(impressions)
    optimiser = torch.optim.LBFGS(
        [wanted, examination.logits], max_iter=_STEPS, line_search_fn="strong_wolfe", tolerance_change=1e-9
    )

    def loss() -> torch.Tensor:
        optimiser.zero_grad()
        prior = ((wanted - usual).square().sum() + examination.logits.square().sum()) / (2 * _PRIOR_DEVIATION**2)
        total = click_loss(wanted[rows], examination(positions), label, weight) + prior
        total.backward()
        return total

    # The stubs of torch ask for a function that returns a float.
    optimiser.step(loss)  # pyright: ignore[reportArgumentType]
    return examination.probabilities().detach().numpy()
