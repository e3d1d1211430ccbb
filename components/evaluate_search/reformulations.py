"""Pairs of queries in a log that may mean the same: a failed one and its reformulation, or two that lead to the same.

Within a visit (events of a shopper and session, at most 30 minutes apart) an event belongs to the query that it names,
else to the last one. A query leads somewhere if an item is viewed, put into the cart or bought with it; what was seen
before in the visit and is bought later belongs to the query that found it. All of it is SQL over the staged events, so
that millions of them need little memory.

Source: Jones, Rey, Madani and Greiner, Generating query substitutions (2006): pairs of successive queries of users,
with a test of dependence; lift is the ratio of their rate to that of independent queries.
"""

from dataclasses import dataclass

import duckdb

VISIT_MINUTES, SOON_MINUTES = 30, 10
"""Longest pause within a visit, and between the end of a failed query and its reformulation."""
_QUERIES_OF_ITEM, _PAIRS = 50, 20_000
"""Queries of an item that are compared, those of most shoppers, and pairs that are returned."""
_OWN = 0.5
"""Least ratio of lengths of a query's shares of items less those of all shoppers, and of its shares: below it, chance
decides which way the difference points."""


@dataclass(frozen=True)
class QueryPair:
    """Two queries, in lower case, blanks collapsed.

    Attributes:
        source, target: The queries; `source` was reformulated as `target`, or comes first in alphabetical order.
        shoppers: Distinct shoppers that reformulated it; or that took, by the rarer query, items that the other has.
        lift: Share of these among those that failed with `source`, over the share of all shoppers that succeeded with
            `target`; None for a pair of items.
        cosine: Of the shares of items taken with each, less those of all shoppers, so that items which everybody takes
            make no two queries alike; None for a reformulation.
    """

    source: str
    target: str
    shoppers: int
    lift: float | None = None
    cosine: float | None = None


@dataclass(frozen=True)
class SearchLog:
    """Number of searches with a query, and of shoppers that searched."""

    searches: int
    shoppers: int


def read_log(events: duckdb.DuckDBPyConnection) -> SearchLog:
    """Add the tables `runs` (uses of a query within a visit) and `taken` (items by query) to the view `events`."""
    events.execute(_EVENTS)
    events.execute(_RUNS)
    found = events.execute("SELECT count(*), count(DISTINCT user_id) FROM logged WHERE searched").fetchall()
    return SearchLog(*found[0])


def reformulated(events: duckdb.DuckDBPyConnection, shoppers: int, lift: float) -> list[QueryPair]:
    """Queries that led nowhere, with the next one of the visit that did, those of most shoppers first.

    Args:
        events: After read_log.
        shoppers: Least number of distinct shoppers.
        lift: Least lift.
    """
    found = events.execute(_REFORMULATED, {"shoppers": shoppers, "lift": lift}).fetchall()
    return [QueryPair(source, target, count, lift=ratio) for source, target, count, ratio in found]


def of_the_same_items(events: duckdb.DuckDBPyConnection, shoppers: int, cosine: float) -> list[QueryPair]:
    """Queries by which shoppers take the same items, those of most shoppers first.

    Args:
        events: After read_log.
        shoppers: Least number of distinct shoppers of each query that took items of both.
        cosine: Least cosine.
    """
    found = events.execute(_SAME_ITEMS, {"shoppers": shoppers, "cosine": cosine}).fetchall()
    return [QueryPair(source, target, count, cosine=similarity) for source, target, count, similarity in found]


_ORDER = "ORDER BY moment, searched DESC, position"
_OF_SHOPPER, _OF_VISIT = "PARTITION BY user_id, session_id", "PARTITION BY user_id, session_id, visit"
_EVENTS = f"""
CREATE TEMP TABLE logged AS
WITH known AS (
    SELECT user_id, coalesce(session_id, '') AS session_id, timestamp AS moment, position, item_id, event_type,
        nullif(regexp_replace(lower(trim(query)), '\\s+', ' ', 'g'), '') AS own,
        event_type = 'search' AND own IS NOT NULL AS searched
    FROM events WHERE event_type <> 'impression'
), paused AS (
    SELECT *, coalesce(
        moment - lag(moment) OVER ({_OF_SHOPPER} {_ORDER}) > INTERVAL {VISIT_MINUTES} MINUTES, true
    ) AS pause
    FROM known SEMI JOIN (SELECT user_id FROM known WHERE searched) USING (user_id)
), visits AS (
    SELECT * EXCLUDE pause, sum(pause::INT) OVER ({_OF_SHOPPER} {_ORDER}) AS visit FROM paused
)
SELECT * EXCLUDE own, last_value(own IGNORE NULLS) OVER ({_OF_VISIT} {_ORDER} ROWS UNBOUNDED PRECEDING) AS query,
    item_id IS NOT NULL AND (event_type IN ('search', 'view')
        OR row_number() OVER (PARTITION BY user_id, session_id, visit, item_id {_ORDER}) = 1) AS taken
FROM visits
"""
_RUNS = f"""
CREATE TEMP TABLE runs AS
WITH changed AS (
    SELECT *, query IS DISTINCT FROM lag(query) OVER ({_OF_VISIT} {_ORDER}) AS new FROM logged WHERE query IS NOT NULL
), numbered AS (SELECT *, sum(new::INT) OVER ({_OF_VISIT} {_ORDER}) AS run FROM changed)
SELECT user_id, session_id, visit, run, query, min(moment) AS first, max(moment) AS last, bool_or(taken) AS led
FROM numbered GROUP BY ALL;
CREATE TEMP TABLE taken AS SELECT DISTINCT user_id, query, item_id FROM logged WHERE taken AND query IS NOT NULL
"""
_NEXT = f"{_OF_VISIT} ORDER BY run ROWS BETWEEN 1 FOLLOWING AND UNBOUNDED FOLLOWING"
_REFORMULATED = f"""
WITH later AS (
    SELECT *, min(run) FILTER (WHERE led) OVER ({_NEXT}) AS target_run FROM runs
), pairs AS (
    SELECT a.query AS source, b.query AS target, count(DISTINCT a.user_id) AS shoppers
    FROM later AS a JOIN runs AS b ON a.user_id = b.user_id AND a.session_id = b.session_id AND a.visit = b.visit
        AND a.target_run = b.run
    WHERE NOT a.led AND a.query <> b.query AND b.first - a.last <= INTERVAL {SOON_MINUTES} MINUTES
    GROUP BY ALL HAVING shoppers >= $shoppers
), failed AS (
    SELECT query AS source, count(DISTINCT user_id) AS failures FROM runs WHERE NOT led GROUP BY ALL
), succeeded AS (
    SELECT query AS target, count(DISTINCT user_id) AS successes FROM runs WHERE led GROUP BY ALL
)
SELECT source, target, shoppers,
    shoppers * (SELECT count(DISTINCT user_id) FROM runs) / failures / successes AS lift
FROM pairs JOIN failed USING (source) JOIN succeeded USING (target)
WHERE lift >= $lift ORDER BY shoppers DESC, lift DESC, source, target LIMIT {_PAIRS}
"""
_SAME_ITEMS = f"""
WITH usual AS (
    SELECT item_id, count(*) / (SELECT count(*) FROM taken) AS usual FROM taken GROUP BY item_id
), counts AS (
    SELECT query, item_id, count(*) AS n FROM taken
    SEMI JOIN (SELECT query FROM taken GROUP BY query HAVING count(DISTINCT user_id) >= $shoppers) USING (query)
    GROUP BY ALL
), shares AS (
    SELECT query, item_id, n, n / sum(n) OVER (PARTITION BY query) AS share FROM counts
), base AS (SELECT sum(usual * usual) AS base FROM usual
), lengths AS (
    SELECT query, sum(share * usual) AS cross_sum, sqrt(sum(share * share) - 2 * cross_sum + any_value(base)) AS length
    FROM shares JOIN usual USING (item_id), base GROUP BY query
    HAVING length > {_OWN} * sqrt(sum(share * share))
), compared AS (
    SELECT * FROM shares QUALIFY row_number() OVER (PARTITION BY item_id ORDER BY n DESC, query) <= {_QUERIES_OF_ITEM}
), products AS (
    SELECT a.query AS source, b.query AS target, sum(a.share * b.share) AS product
    FROM compared AS a JOIN compared AS b ON a.item_id = b.item_id AND a.query < b.query GROUP BY ALL
), alike AS (
    SELECT source, target, (product - x.cross_sum - y.cross_sum + base) / x.length / y.length AS cosine
    FROM products JOIN lengths AS x ON x.query = source JOIN lengths AS y ON y.query = target, base
    WHERE cosine >= $cosine
), shared AS (
    SELECT source, target, a.item_id FROM alike JOIN compared AS a ON a.query = source
    JOIN compared AS b ON b.query = target AND b.item_id = a.item_id
), each AS (
    SELECT source, target, query, count(DISTINCT user_id) AS shoppers
    FROM shared JOIN taken USING (item_id) WHERE query IN (source, target) GROUP BY ALL
)
SELECT source, target, min(shoppers) AS shoppers, any_value(cosine) AS cosine
FROM each JOIN alike USING (source, target) GROUP BY source, target
HAVING count(*) = 2 AND min(each.shoppers) >= $shoppers
ORDER BY shoppers DESC, cosine DESC, source, target LIMIT {_PAIRS}
"""
