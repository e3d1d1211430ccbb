"""The event type that models predict."""

import duckdb

from components.shared.errors import DataError
from components.shared.progress import tell

_STRONGEST = ("purchase", "cart", "view", "search", "impression")

ENOUGH = 20
"""Events of a type from which models can learn to predict it; fewer leave most windows empty."""


def target_event(database: duckdb.DuckDBPyConnection, wanted: str) -> str:
    """The wanted type, else the strongest with enough events that name an item, else the most frequent.

    Args:
        database: With table `clean`.
        wanted: Option `target`.

    Raises:
        DataError: no event names an item, or none is of the wanted type.
    """
    counts = dict(
        database.execute("SELECT event_type, count(*) FROM clean WHERE item_id IS NOT NULL GROUP BY ALL").fetchall()
    )
    if not counts:
        raise DataError(
            "column 'item_id': no event names an item, so there is nothing to train on",
            "map the column with the item id; a search event has the id of the item opened from it",
        )
    if wanted:
        if wanted not in counts:
            raise DataError(f"features.target is '{wanted}', and no event with an item is of that type",
                            f"choose one of: {', '.join(counts)}")  # fmt: skip
        return wanted
    present = [kind for kind in _STRONGEST if kind in counts]
    chosen = next((kind for kind in present if counts[kind] >= ENOUGH), max(present, key=lambda kind: counts[kind]))
    if chosen != present[0]:
        few = ", ".join(f"{counts[kind]:,} {kind}" for kind in present[: present.index(chosen)])
        tell("build_features", f"models predict '{chosen}', because there are only {few} events with an item; "
                               "features.target chooses another type")  # fmt: skip
    return chosen
