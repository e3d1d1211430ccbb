"""OpenSearch as a library in a process of its own, asked over HTTP.

Maven builds it once from the files in opensearch/; 45 MB of jars.
"""

import hashlib
import json
import secrets
import shutil
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import product
from pathlib import Path
from typing import Any

from components.evaluate_search.catalog import SearchCatalog
from tests.benchmarks.search.peers.asking import TEXTS, Peer, Way, batches
from tests.benchmarks.search.peers.servers import PeerMissing, Server, made, started, told
from tests.ports import free_port

_SOURCE = Path(__file__).parent / "opensearch"
_ENGLISH = {"type": "text", "analyzer": "english"}
_INDEX = {
    # Equally good items keep the order of the catalog.
    "settings": {
        "number_of_shards": 1, "number_of_replicas": 0, "refresh_interval": "-1",
        "index.sort.field": "row", "index.sort.order": "asc",
    },
    "mappings": {
        "dynamic": "strict",
        "properties": {
            "id": {"type": "keyword"}, "row": {"type": "integer"}, **dict.fromkeys(TEXTS, _ENGLISH),
            "title": {**_ENGLISH, "fields": {"exact": {"type": "text", "analyzer": "standard"}}},
        },
    },
}  # fmt: skip


def _program() -> Path:
    """Folder with node.jar and lib/."""
    if not shutil.which("java"):
        raise PeerMissing("there is no program java")
    sources = sorted(path for path in _SOURCE.rglob("*") if path.is_file())
    version = hashlib.sha256(b"".join(path.read_bytes() for path in sources)).hexdigest()[:12]
    return made(f"opensearch-{version}", _build) / "target"


def _build(folder: Path) -> None:
    shutil.copytree(_SOURCE, folder, dirs_exist_ok=True)
    told(["mvn", "--quiet", "--batch-mode", "package"], folder)


class OpenSearch:
    """An index of a node."""

    def __init__(self, server: Server, catalog: SearchCatalog):
        self._server = server
        begun = time.perf_counter()
        self._fill(catalog)
        self.index_seconds = time.perf_counter() - begun

    def _fill(self, catalog: SearchCatalog) -> None:
        self._server.asked("PUT", "/items", json=_INDEX)
        for batch in batches(catalog):
            lines = [json.dumps(line) for name, row in batch for line in ({"index": {}}, {"id": name, **row})]
            sent = self._server.asked(
                "POST", "/items/_bulk?filter_path=errors,items.*.error", content="\n".join([*lines, ""]),
                headers={"Content-Type": "application/x-ndjson"},
            )  # fmt: skip
            if sent.json()["errors"]:
                raise RuntimeError(f"OpenSearch refused an item: {sent.text[:500]}")
        self._server.asked("POST", "/items/_refresh")
        self._server.asked("POST", "/items/_forcemerge?max_num_segments=1")

    def ask(self, way: Way, query: str, count: int, among: Sequence[str] | None = None) -> list[str]:
        """See Engine."""
        only = [] if among is None else [{"terms": {"id": list(among)}}]
        body = {
            "size": count, "track_total_hits": False, "stored_fields": "_none_", "docvalue_fields": ["id"],
            "query": {"bool": {**_put(way, query), "filter": only}},
        }  # fmt: skip
        found = self._server.asked("POST", "/items/_search?filter_path=hits.hits.fields", json=body).json()
        return [hit["fields"]["id"][0] for hit in found.get("hits", {}).get("hits", [])]

    def memory_mb(self) -> float:
        """See Engine."""
        return self._server.memory_mb()

    def floor_ms(self) -> float:
        """See Engine."""
        return self._server.floor_ms("/")


def _put(way: Way, query: str) -> dict[str, Any]:
    """Clauses of a query: one that must match, and what adds to the score."""
    matching: dict[str, Any] = {"query": query, **{name: way[name] for name in _MATCHING if way.get(name) is not None}}
    phrase = {"match_phrase": {"title": {"query": query, "slop": 2}}}
    more = dict(zip(_MORE, ([], [{"match": {"title.exact": query}}], [phrase]), strict=True))
    return {"must": [{"multi_match": matching}], "should": more[way["more"]]}


_MATCHING = ("type", "fields", "tie_breaker", "minimum_should_match")
_KINDS = {
    "best_fields 0": ("best_fields", 0.0),
    "best_fields .3": ("best_fields", 0.3),
    "best_fields .6": ("best_fields", 0.6),
    "cross_fields 0": ("cross_fields", 0.0),
    "cross_fields .3": ("cross_fields", 0.3),
    "most_fields": ("most_fields", None),
}
_FIELDS = {
    "even": ["title", "brand", "description", "attributes"],
    "title^3 brand^2": ["title^3", "brand^2", "description", "attributes"],
    "title^2 attributes^.5": ["title^2", "brand", "description", "attributes^0.5"],
    "title^3 attributes^.2": ["title^3", "brand", "description", "attributes^0.2"],
    "title^2 without attributes": ["title^2", "brand", "description"],
}
_MORE = ("", "title without stemming", "title as a phrase")


def _way(kind: str, fields: str, more: str, minimum: str) -> Way:
    name, tie = _KINDS[kind]
    return {
        "type": name, "fields": _FIELDS[fields], "tie_breaker": tie, "minimum_should_match": minimum or None,
        "more": more,
    }  # fmt: skip


@contextmanager
def _running(catalog: SearchCatalog) -> Iterator[OpenSearch]:
    program = _program()
    # A node that another run left behind has another name.
    name, port = secrets.token_hex(8), free_port()
    with tempfile.TemporaryDirectory(prefix="shoprank-") as home:
        (Path(home) / "config").mkdir()
        command = ["java", "-Xms64m", "-Xmx1g", "-cp", f"{program}/node.jar:{program}/lib/*", "OneNode", home, name]
        with started([*command, str(port), str(free_port())], port, {}, Path(home)) as server:
            server.wait(lambda http: http.get("/").json().get("cluster_name") == name)
            yield OpenSearch(server, catalog)


OPENSEARCH = Peer(
    name="OpenSearch 2.19.6",
    running=_running,
    chosen=_way("best_fields .3", "title^3 brand^2", "", ""),
    words="multi_match best_fields, tie_breaker .3, title^3 brand^2 description attributes, any word matches",
    ways={levels: _way(*levels) for levels in product(_KINDS, _FIELDS, _MORE, ("", "2<75%"))},
    setting="one shard, merged into one segment (part of the index time), analyzer english, BM25 (k1 1.2, b .75), "
    "heap of at most 1 GB; answers are ids alone",
)
