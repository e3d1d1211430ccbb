"""A server on loopback that answers as the REST API v2beta1 of Kubeflow Pipelines does, as far as its clients ask."""

import contextlib
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

from pipelines.tests.loopback import loopback_server

API = "/apis/v2beta1"
ENDED = ("SUCCEEDED", "FAILED", "CANCELED")


@dataclass
class KfpApi:
    """What the server has, what it was asked, and how it misbehaves."""

    multi_user: bool = False
    refusal: int = 0
    """Status of every answer; 0: as asked."""
    refused: dict[str, tuple[int, str]] = field(default_factory=dict)
    """Start of a path -> status and message of its answers."""
    login: str = ""
    """Address that every request is redirected to."""
    page: str = ""
    """HTML of every answer, as of a web server that is not KFP."""
    headers: dict[str, str] = field(default_factory=dict)
    """Headers that a request needs; 401 without them."""
    states: list[str] = field(default_factory=list)
    """The run's states, one per query; 'away' is a 503. The last one stays."""
    details: dict[str, Any] = field(default_factory=dict)
    """Fields of the run once it has ended."""
    logs: dict[str, str] = field(default_factory=dict)
    """Pod -> its log."""
    experiments: list[dict] = field(default_factory=list)
    pipelines: list[dict] = field(default_factory=list)
    versions: list[dict] = field(default_factory=list)
    schedules: list[dict] = field(default_factory=list)
    runs: list[dict] = field(default_factory=list)
    asked: list[tuple[str, str, dict[str, str]]] = field(default_factory=list)
    """Method, path with query, and headers of each request."""
    on_request: Callable[[int], None] = lambda count: None
    """Called with the number of requests so far; ConnectionAbortedError ends the connection without an answer."""
    host: str = ""
    stop: Callable[[], None] = lambda: None
    """Close the listening socket: later connections are refused."""

    def run(self) -> tuple[int, dict]:
        state = self.states.pop(0) if len(self.states) > 1 else self.states[0]
        if state == "away":
            return 503, {"message": "the server is currently unable to handle the request"}
        return 200, {"run_id": "r1", "display_name": "x", "state": state, **(self.details if state in ENDED else {})}


def _named(items: list[dict], query: dict[str, list[str]]) -> list[dict]:
    """The items that KFP's filter of the query selects."""
    predicates = json.loads(query["filter"][0])["predicates"] if query.get("filter") else []
    wanted = {one["key"]: one["stringValue"] for one in predicates}
    return [item for item in items if all(item[key] == value for key, value in wanted.items())]


def _uploaded(body: bytes) -> str:
    """The file of a multipart body of one part."""
    return body.split(b"\r\n\r\n", 1)[1].rsplit(b"\r\n--", 1)[0].decode()


def _get(api: KfpApi, path: str, query: dict[str, list[str]]) -> tuple[int, Any]:
    match path.split("/"):
        case ["healthz"]:
            return 200, {"multi_user": api.multi_user, "pipeline_store": "database"}
        case ["experiments"]:
            return 200, {"experiments": _named(api.experiments, query)}
        case ["pipelines"]:
            return 200, {"pipelines": _named(api.pipelines, query)}
        case ["pipelines", pipeline, "versions"]:
            mine = [one for one in api.versions if one["pipeline_id"] == pipeline]
            return 200, {"pipeline_versions": _named(mine, query)}
        case ["recurringruns"]:
            return 200, {"recurringRuns": _named(api.schedules, query)}
        case ["runs", _]:
            return api.run()
    return 404, {"code": 5, "message": "Not Found", "details": []}


def _post(api: KfpApi, path: str, query: dict[str, list[str]], body: bytes) -> tuple[int, Any]:
    named = query.get("name", [""])[0]
    match path.split("/"):
        case ["experiments"]:
            api.experiments.append({"experiment_id": f"e{len(api.experiments) + 1}", **json.loads(body)})
            return 200, api.experiments[-1]
        case ["runs"]:
            api.runs.append(json.loads(body))
            return 200, {"run_id": "r1", "display_name": api.runs[-1]["display_name"], "state": "PENDING"}
        case ["recurringruns"]:
            api.schedules.append({"recurring_run_id": f"s{len(api.schedules) + 1}", **json.loads(body)})
            return 200, api.schedules[-1]
        case ["recurringruns", command]:
            schedule, _, verb = command.partition(":")
            next(one for one in api.schedules if one["recurring_run_id"] == schedule)["mode"] = verb.upper()
            return 200, {}
        case ["pipelines", "upload"]:
            api.pipelines.append({"pipeline_id": f"p{len(api.pipelines) + 1}", "display_name": named,
                                  "namespace": query.get("namespace", [""])[0], "file": _uploaded(body)})  # fmt: skip
            return 200, {"pipeline_id": api.pipelines[-1]["pipeline_id"], "display_name": named}
        case ["pipelines", "upload_version"]:
            version = f"v{len(api.versions) + 1}"
            api.versions.append({"pipeline_id": query["pipelineid"][0], "pipeline_version_id": version,
                                 "display_name": named, "file": _uploaded(body)})  # fmt: skip
            return 200, {key: value for key, value in api.versions[-1].items() if key != "file"}
    return 404, {"code": 5, "message": "Not Found", "details": []}


def _answer(api: KfpApi, method: str, target: str, headers: dict[str, str], body: bytes) -> tuple[int, Any]:
    url = urlsplit(target)
    if api.refusal:
        return api.refusal, {"message": "no"}
    if any(headers.get(name) != value for name, value in api.headers.items()):
        return 401, {"code": 16, "message": "Request header error: there is no user identity header."}
    for start, (status, message) in api.refused.items():
        if url.path.startswith(f"{API}/{start}"):
            return status, {"code": 3, "message": message, "details": []}
    log = url.path.removeprefix("/apis/v1alpha1/runs/r1/nodes/").removesuffix("/log")
    if log in api.logs:
        return 200, api.logs[log]
    if not url.path.startswith(f"{API}/"):
        return 404, {"message": "Not Found"}
    path, query = url.path.removeprefix(f"{API}/"), parse_qs(url.query)
    if method == "DELETE":
        api.schedules[:] = [one for one in api.schedules if one["recurring_run_id"] != path.split("/")[1]]
        return 200, {}
    return _get(api, path, query) if method == "GET" else _post(api, path, query, body)


def _handler(api: KfpApi) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def answer(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            headers = {name.title(): value for name, value in self.headers.items()}
            api.asked.append((self.command, self.path, headers))
            try:
                api.on_request(len(api.asked))
            except ConnectionAbortedError:
                self.close_connection = True
                return
            status, value = _answer(api, self.command, self.path, headers, body)
            kind = "text/plain" if isinstance(value, str) else "application/json"
            text = value if isinstance(value, str) else json.dumps(value)
            if api.page:
                status, kind, text = 200, "text/html", api.page
            self.send_response(302 if api.login else status)
            if api.login:
                self.send_header("Location", api.login)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(text.encode())))
            self.end_headers()
            self.wfile.write(text.encode())

        do_GET = do_POST = do_DELETE = answer

        def log_message(self, *_: object) -> None:
            pass

    return Handler


@contextlib.contextmanager
def kfp_server(certificate: Path | None = None, **how: Any) -> Iterator[KfpApi]:
    """A running server; over HTTPS with a PEM file of a certificate and its key."""
    api = KfpApi(**how)
    with loopback_server(_handler(api), certificate) as (server, api.host):
        api.stop = server.socket.close
        yield api
