"""Memory of a search that runs inside a process: how much a process of its own grows by it."""

import gc
import multiprocessing
import os
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor

import psutil

from components.evaluate_search.catalog import SearchCatalog
from components.evaluate_search.measuring import DEPTH
from components.shared.evaluation.search_systems import SearchSystem

Build = Callable[[SearchCatalog], SearchSystem]


def growth_mb(build: Build, catalog: SearchCatalog, queries: Sequence[str]) -> float:
    """Resident memory that building a search and asking it adds to a process that holds its code and the catalog.

    Args:
        build: Makes the search; it is sent to another process. catalog: To index. queries: To ask.
    """
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
        return pool.submit(_growth, build, catalog, list(queries)).result()


def _growth(build: Build, catalog: SearchCatalog, queries: list[str]) -> float:
    assert catalog.row_of
    before = _resident()
    system = build(catalog)
    for query in queries:
        system.search(query, DEPTH)
    return (_resident() - before) / 1e6


def _resident() -> int:
    gc.collect()
    return psutil.Process(os.getpid()).memory_info().rss
