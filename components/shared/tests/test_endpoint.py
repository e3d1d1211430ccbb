"""What a predictor's URL may answer: an answer of the V1 form, or a ServingError that shows what came instead."""

import http.server
import threading

import httpx
import pytest

from components.shared.errors import ServingError
from components.shared.release.golden import Golden
from components.shared.telemetry.endpoint import Endpoint, endpoint

GOOD = b'{"predictions": [{"model_version": "v1", "items": [{"item_id": "a", "score": 0.5}]}]}'


class Answers(http.server.BaseHTTPRequestHandler):
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
    """(URL, class whose attributes body and status are answered)."""
    handler = type("One", (Answers,), {})
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as running:
        thread = threading.Thread(target=running.serve_forever, args=(0.02,))
        thread.start()
        try:
            yield f"http://127.0.0.1:{running.server_port}", handler
        finally:
            running.shutdown()
            thread.join()


def test_an_answer_of_the_v1_form_comes_through(server):
    with endpoint(server[0]) as asked:
        assert asked.version() == "v1"
        assert asked.replay([Golden({"k": 1}, ("a",), (0.5,))], version="v1") == 0.0


@pytest.mark.parametrize(
    "body",
    [b"<html>sign in</html>", b"", b"\xff\xfe", b"[]", b"{}", b'{"predictions": []}', b'{"predictions": [7]}',
     b'{"predictions": {"0": 1}}', b'{"predictions": [{"items": []}]}',
     b'{"predictions": [{"model_version": "v1", "items": [{"item_id": "a", "score": "high"}]}]}',
     b'{"predictions": [{"model_version": "v1", "items": [{"item_id": 7, "score": 1}]}]}',
     b'{"predictions": [{"model_version": null, "items": []}]}'],
)  # fmt: skip
def test_anything_else_is_a_serving_error_that_shows_it(server, body):
    server[1].body = body
    with endpoint(server[0]) as asked, pytest.raises(ServingError, match="the predictor's response") as caught:
        asked.replay([Golden({"k": 1}, ("a",), (0.5,))])
    assert body.decode(errors="ignore") in caught.value.headline


@pytest.mark.parametrize("status", [302, 404, 500])
def test_other_codes_are_told(server, status):
    server[1].status = status
    with endpoint(server[0]) as asked, pytest.raises(ServingError, match=str(status)):
        asked.answer({"k": 1})


def test_an_answer_that_leads_round_in_circles_is_no_answer(server):
    server[1].status = 307
    with (
        httpx.Client(base_url=server[0], trust_env=False, follow_redirects=True) as client,
        pytest.raises(ServingError, match="does not answer"),
    ):
        Endpoint(client).answer({"k": 1})
