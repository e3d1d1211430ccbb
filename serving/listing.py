"""The whole result of an instance and the page of it that is answered.

A ranked order (relevance) is the ranking, then what the search found beyond it, then the rest of the result by
popularity. A sorted order continues after the key and the id of the last item; a ranked one lists what was not shown.
"""

from dataclasses import dataclass, replace

import numpy as np

from components.shared.features.history import Histories
from components.shared.recommender.batches import Ranking
from components.shared.recommender.candidates import Source, chosen_items
from components.shared.recommender.recommender import Recommender
from components.shared.recommender.stage_times import StageTimes
from components.shared.search.matching import Matched, Matching
from components.shared.search.searching import Found
from components.shared.search.understanding import Understanding
from serving.cursors import After, Position, item_digests, read_cursor, write_cursor
from serving.filters import FilterIndex
from serving.protocol import Filters, Instance, RequestError
from serving.sorting import SortBy, SortOrders

_RANKED = 2_000
"""Maximum number of items that a ranked order lists one by one, whose digests a cursor carries."""
_TOP_CLASS = 2


@dataclass(frozen=True)
class Wanted:
    """What an instance asks for.

    Attributes:
        instance: The instance.
        query: What its search text is understood as; None for a recommendation.
        limits: What a text without words, such as 'under 20', is understood as; None otherwise.
        allowed: bool [items], items that may be answered.
        matching: What the query matches; None for a recommendation.
        position: Where the page before ended; None for the first page.
        permitted: bool [items], what rules and fences leave of the whole catalog; None: everything, or not needed.
        closed: Whether the ranked items are the whole result, as of related items.
    """

    instance: Instance
    query: Understanding | None
    limits: Understanding | None
    allowed: np.ndarray
    matching: Matching | None
    position: Position | None
    permitted: np.ndarray | None = None
    closed: bool = False


@dataclass(frozen=True)
class Page:
    """One page of a result.

    Attributes:
        rows: int64 [n], catalog rows in order.
        result: bool [items], the whole result.
        cursor: Cursor of the next page, '' if there is none.
    """

    rows: np.ndarray
    result: np.ndarray
    cursor: str


class Listing:
    """Lists results page by page.

    Args:
        recommender: Catalog, statistics and search.
        filters: Items by label.
    """

    def __init__(self, recommender: Recommender, filters: FilterIndex):
        assert recommender.search is not None
        self._recommender = recommender
        self._catalog, self._search, self._filters = recommender.catalog, recommender.search, filters
        self.orders = SortOrders(recommender.catalog, recommender.statistics)
        self._digests: np.ndarray | None = None

    def check(self, instance: Instance, where: str) -> None:
        """See Engine.check."""
        if instance.sort != "relevance" and not self.orders.offers(instance.sort):
            field = f"{where}sort"
            raise RequestError(f"field '{field}' is \"{instance.sort}\", but no item of this model has a created_at",
                               "give items a created_at and train again, or choose relevance, price, -price or popular",
                               field)  # fmt: skip
        read_cursor(instance, where)

    def wanted(
        self, instance: Instance, query: Understanding | None, limits: Understanding | None,
        position: Position | None, warnings: list[str],
    ) -> Wanted:  # fmt: skip
        """What an instance asks for; names in its filters that no item has are reported in `warnings`."""
        allowed = self._allowed(instance, limits, instance.filters, warnings)
        matching = None if query is None else Matching(self._search, query)
        return Wanted(instance, query, limits, allowed, matching, position)

    def sorted_page(self, wanted: Wanted, as_of: int) -> Page | None:
        """The page of a sorted order; None for a ranked one, and for a query that matches no item by its words."""
        by = wanted.instance.sort
        if by == "relevance" or wanted.closed:
            return None
        if wanted.matching is None:
            return self._sorted(wanted, by, wanted.allowed, as_of)
        result = wanted.matching.within(wanted.allowed).as_asked
        return self._sorted(wanted, by, result, as_of) if result.any() else None

    def ranked_page(self, wanted: Wanted, ranking: Ranking, found: Found | None, as_of: int) -> Page:
        """The page of a ranked order, or if a sort is asked for, of the ranked items sorted.

        Args:
            wanted: What is asked for.
            ranking: All ranked items.
            found: What the query found; None for a recommendation.
            as_of: Time of the answer, epoch seconds.
        """
        by, result = wanted.instance.sort, np.zeros(len(self._catalog), bool)
        result[ranking.item] = True
        if by != "relevance":
            return self._sorted(wanted, by, result, as_of)
        matched, first = None, ranking.item
        if wanted.closed:
            pass
        elif wanted.matching is None:
            result |= wanted.allowed
        elif found is not None and len(found.item):
            matched = wanted.matching.within(wanted.allowed)
            result |= matched.mask
            result[found.item] = True
            first = _ranked_rows(ranking.item, found, len(result))
        return self._ranked(wanted, first, result, matched, as_of)

    def ranking_of(
        self, page: Page, wanted: Wanted, ranking: Ranking, histories: Histories, times: StageTimes
    ) -> Ranking:
        """The ranking of a page's items, in its order; those that were not ranked yet have the score 0."""
        beyond = page.rows[~np.isin(page.rows, ranking.item)]
        if len(beyond):
            chosen = chosen_items(beyond, Source(0))
            batch = self._recommender.candidates(histories, [wanted.query], wanted.allowed, times, chosen)
            (rest,) = self._recommender.ranked([batch], [len(beyond)], times)
            ranking = Ranking.joined([ranking, replace(rest, score=np.zeros_like(rest.score))])
        by_row = np.argsort(ranking.item)
        return ranking.take(by_row[np.searchsorted(ranking.item[by_row], page.rows)])

    def result_under(self, wanted: Wanted, result: np.ndarray, filters: Filters) -> np.ndarray:
        """The whole result, bool [items], under other filters; `result` is the one under those of the instance."""
        if filters == wanted.instance.filters or wanted.closed:
            return result
        allowed = self._allowed(wanted.instance, wanted.limits, filters, [])
        allowed = allowed if wanted.permitted is None else allowed & wanted.permitted
        if wanted.matching is None:
            return allowed
        matched = wanted.matching.within(allowed)
        mask = matched.mask if wanted.instance.sort == "relevance" else matched.as_asked
        # A query that is answered by meaning matches nothing by its words.
        return mask if mask.any() else result

    def _allowed(
        self, instance: Instance, limits: Understanding | None, filters: Filters, warnings: list[str]
    ) -> np.ndarray:
        allowed = self._filters.mask(filters, instance.exclude, warnings)
        return allowed if limits is None else self._search.allowed(limits, allowed)

    def _sorted(self, wanted: Wanted, by: SortBy, result: np.ndarray, as_of: int) -> Page:
        rows, after = np.flatnonzero(result), wanted.position and wanted.position.after
        place = self.orders.place(by)[rows]
        if after is not None:
            left = place >= self.orders.places_through(by, after.key, after.item_id)
            rows, place = rows[left], place[left]
        page = rows[np.argsort(place)[: wanted.instance.k]]
        if not len(page) or len(page) == len(rows):
            return Page(page, result, "")
        position = Position(as_of, np.zeros(0, np.uint64), self._after(by, 0, int(page[-1])))
        return Page(page, result, write_cursor(wanted.instance, position))

    def _ranked(
        self, wanted: Wanted, first: np.ndarray, result: np.ndarray, matched: Matched | None, as_of: int
    ) -> Page:
        """A page of the items that were not shown: of `first`, then of the rest of the result by class, popularity."""
        k, before = wanted.instance.k, wanted.position
        shown = np.zeros(0, np.uint64) if before is None else before.shown
        was_shown = np.zeros(len(result), bool)
        if len(shown):
            was_shown = np.isin(self._all_digests(), shown)
        after = before and before.after
        head = np.zeros(0, np.int64) if after is not None else first[~was_shown[first]][: max(_RANKED - len(shown), 0)]
        page = head[:k]
        shown = np.concatenate([shown, self._digests_of(page)])
        rest = result & ~was_shown
        rest[head] = False
        ended = len(page) == len(head) and not rest.any()
        if len(page) < k:
            # To order all that is left takes milliseconds in a large catalog, so only a page that needs it does.
            more, after, left = self._rest(rest, matched, after, k - len(page))
            page, ended = np.concatenate([page, more]), len(more) == left
        cursor = "" if ended else write_cursor(wanted.instance, Position(as_of, shown, after))
        return Page(page, result, cursor)

    def _rest(
        self, rest: np.ndarray, matched: Matched | None, after: After | None, count: int
    ) -> tuple[np.ndarray, After | None, int]:
        """Of the items of `rest` after one, by class and popularity: the first rows, the last's place, their number."""
        rows = np.flatnonzero(rest)
        classes = np.zeros(len(rows), np.int64) if matched is None else matched.rank_class[rows].astype(np.int64)
        level = _TOP_CLASS - classes
        place = level * len(rest) + self.orders.place("popular")[rows]
        if after is not None:
            through = self.orders.places_through("popular", after.key, after.item_id)
            left = place >= after.level * len(rest) + through
            rows, place, level = rows[left], place[left], level[left]
        more = np.argsort(place)[:count]
        if len(more):
            after = self._after("popular", int(level[more[-1]]), int(rows[more[-1]]))
        return rows[more], after, len(rows)

    def _after(self, by: SortBy, level: int, row: int) -> After:
        return After(level, self.orders.key(by, row), self._catalog.item_id[row].as_py())

    def _digests_of(self, rows: np.ndarray) -> np.ndarray:
        return item_digests([self._catalog.item_id[row].as_py() for row in rows.tolist()])

    def _all_digests(self) -> np.ndarray:
        """Digest of every item; computed when a second page is first asked for."""
        if self._digests is None:
            self._digests = item_digests(self._catalog.item_id.to_pylist())
        return self._digests


def _ranked_rows(ranked: np.ndarray, found: Found, items: int) -> np.ndarray:
    """The ranked rows, and what was found beyond them behind the last ranked one of its class."""
    class_of = np.zeros(items, np.int8)
    class_of[found.item] = found.rank_class
    beyond = found.item[~np.isin(found.item, ranked)]
    last = [np.flatnonzero(class_of[ranked] >= level).max(initial=-1) for level in range(_TOP_CLASS + 1)]
    place = np.concatenate([np.arange(len(ranked)), np.array(last)[class_of[beyond]] + 0.5])
    return np.concatenate([ranked, beyond])[np.argsort(place, kind="stable")]
