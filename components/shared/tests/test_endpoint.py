"""Responses of a predictor's URL: V1 responses are accepted, others raise a ServingError that quotes them."""

import http.server
import threading

import httpx
import pytest

from components.shared.errors import ServingError
from components.shared.release.golden import Golden
from components.shared.telemetry.endpoint import Endpoint, endpoint

GOOD = b'{"predictions": [{"model_version": "v1", "items": [{"item_id": "a", "score": 0.5}]}]}'


class Responses(http.server.BaseHTTPRequestHandler):
    body, status = GOOD, 200

    def do_POST(self):
        self.rfile.read(int(self.headers["content-length"]))
        self.send_response(type(self).status)
        self.send_header("location", "/elsewhere")
        self.send_header("content-length", str(len(type(self).body)))
        self.end_headers()
        self.wfile.write(type(self).body)

    def log_message(self, *words):
        pass


@pytest.fixture
def server():
    """(URL, handler class whose attributes body and status are sent)."""
    handler = type("One", (Responses,), {})
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as running:
        thread = threading.Thread(target=running.serve_forever, args=(0.02,))
        thread.start()
        try:
            yield f"http://127.0.0.1:{running.server_port}", handler
        finally:
            running.shutdown()
            thread.join()


def test_v1_response_is_accepted(server):
    with endpoint(server[0]) as predictor:
        assert predictor.version() == "v1"
        assert predictor.replay([Golden({"k": 1}, ("a",), (0.5,))], version="v1") == 0.0


@pytest.mark.parametrize(
    "body",
    [b"<html>sign in</html>", b"", b"\xff\xfe", b"[]", b"{}", b'{"predictions": []}', b'{"predictions": [7]}',
     b'{"predictions": {"0": 1}}', b'{"predictions": [{"items": []}]}',
     b'{"predictions": [{"model_version": "v1", "items": [{"item_id": "a", "score": "high"}]}]}',
     b'{"predictions": [{"model_version": "v1", "items": [{"item_id": 7, "score": 1}]}]}',
     b'{"predictions": [{"model_version": null, "items": []}]}'],
)  # fmt: skip
def test_other_responses_raise_a_serving_error_that_quotes_them(server, body):
    server[1].body = body
    with endpoint(server[0]) as predictor, pytest.raises(ServingError, match="the predictor's response") as caught:
        predictor.replay([Golden({"k": 1}, ("a",), (0.5,))])
    assert body.decode(errors="ignore") in caught.value.headline


@pytest.mark.parametrize("status", [302, 404, 500])
def test_serving_error_names_the_status_code(server, status):
    server[1].status = status
    with endpoint(server[0]) as predictor, pytest.raises(ServingError, match=str(status)):
        predictor.answer({"k": 1})


def test_redirect_loop_raises_a_serving_error(server):
    server[1].status = 307
    with (
        httpx.Client(base_url=server[0], trust_env=False, follow_redirects=True) as client,
        pytest.raises(ServingError, match="does not answer"),
    ):
        Endpoint(client).answer({"k": 1})
