"""Hostile clients against the real server: slow ones, silent ones, floods and bombs; others are answered meanwhile."""

import contextlib
import resource

import grpc
import httpx
import pytest
from kserve.protocol.grpc import grpc_predict_v2_pb2 as pb
from kserve.protocol.grpc.grpc_predict_v2_pb2_grpc import GRPCInferenceServiceStub

from components.shared.tests.waiting import eventually
from components.validate_serving.predictor import PredictorConfig, running
from serving.tests.hostile import (
    CLOSED,
    PREDICT,
    answer_to,
    connect,
    idle,
    not_reading,
    packed,
    post,
    silent,
    trickled,
)

ARRIVAL_S, LONG_S = 1.0, 60.0
CONNECTIONS = 50
GOOD = b'{"instances": [{"k": 1}]}'


@pytest.fixture(scope="module")
def server(signed):
    further = ("--max_arrival_s", str(ARRIVAL_S), "--max_connections", str(CONNECTIONS))
    with running(signed[0], PredictorConfig(public_key=signed[1], further=further)) as found:
        yield found


@pytest.fixture(scope="module")
def port(server):
    return int(server.url.rsplit(":", 1)[1])


@pytest.fixture(autouse=True)
def answers_others(server):
    """Whatever a test did, the next request is answered, and memory is as before."""
    yield
    assert httpx.post(server.url + PREDICT, content=GOOD, trust_env=False, timeout=LONG_S).status_code == 200
    assert server.peak_memory_mb() < 1_000


@pytest.mark.parametrize(
    ("start", "byte"),
    [(b"GET / HTTP/1.1\r\nx-slow: ", b"a"), (b"", b"\r\n"), (b"POST / HT", b""),
     (post(length=500_000), b"a"),
     (b"POST " + PREDICT.encode() + b" HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n", b"1\r\na\r\n"),
     (b"GET / HTTP/1.1\r\nhost: a\r\n\r\n", b"\r\n")],
    ids=["header", "empty lines", "nothing after a beginning", "body", "chunks", "after an answer"],
)  # fmt: skip
def test_a_request_that_trickles_in_is_cut_off(port, start, byte):
    assert trickled(port, start, byte, 0.1, LONG_S) is not None


def test_a_silent_connection_is_closed(port):
    assert silent(port, LONG_S) is not None
    # With a body that was refused before it had come; nothing more follows.
    assert silent(port, LONG_S, post(length=5_000_000)) is not None


def test_a_client_that_reads_no_answers_is_cut_off(port):
    # Answers that are long and quickly made: 50 MB, of which the kernel holds a few.
    assert not_reading(port, b"GET /openapi.json HTTP/1.1\r\nhost: a\r\n\r\n", 2_000, LONG_S) is not None


@pytest.mark.parametrize("sent", [b"GET / HTTP/1.1\r\nx: ", post(length=900_000)], ids=["headers", "body"])
def test_unfinished_requests_make_room_too(server, port, sent):
    with contextlib.ExitStack() as slow:
        for _ in range(4 * CONNECTIONS):
            slow.enter_context(connect(port)).sendall(sent)
        # Long before they have to have arrived.
        answer = httpx.post(server.url + PREDICT, content=GOOD, trust_env=False, timeout=LONG_S)
        assert answer.status_code == 200


def test_the_longest_idle_connection_makes_room(server, port):
    with httpx.Client(base_url=server.url, trust_env=False, timeout=LONG_S) as first, idle(port, 4 * CONNECTIONS):
        for _ in range(5):
            assert first.post(PREDICT, content=GOOD).status_code == 200


@pytest.mark.parametrize(
    "request_",
    [b"GET / HTTP/1.1\r\n" + b"".join(b"x-%d: a\r\n" % number for number in range(5_000)) + b"\r\n",
     b"GET / HTTP/1.1\r\nx: " + b"a" * 200_000 + b"\r\n\r\n", b"GET / HTTP/1.1\r\n" + b"x" * 2_000_000,
     b"GET /" + b"a" * 100_000 + b" HTTP/1.1\r\n\r\n", b"GET / HTTP/1.1\r\nx: " + b"a" * 40_000 + b"\r\n\r\n",
     b"GET / HTTP/1.1\r\n" + b"a: b\r\n" * 101 + b"\r\n"],
    ids=["5,000 headers", "a long header", "an endless name", "a long path", "in one piece", "101 headers"],
)  # fmt: skip
def test_header_floods_get_431(port, request_):
    assert answer_to(port, request_) in (431, CLOSED)


def test_431_is_said_when_the_client_listens(server):
    answer = httpx.get(server.url + "/", headers={"x": "a" * 40_000}, trust_env=False, timeout=LONG_S)
    assert answer.status_code == 431 and answer.headers["connection"] == "close"


@pytest.mark.parametrize("encoding", ["gzip", "deflate", "br", "zstd", "x"])
def test_packed_bodies_are_refused_unread(server, encoding):
    headers = {"content-encoding": encoding, "content-type": "application/json"}
    answer = httpx.post(server.url + PREDICT, content=packed(50_000_000), headers=headers, trust_env=False,
                        timeout=LONG_S)  # fmt: skip
    assert answer.status_code == 415 and "content-encoding" in answer.json()["error"]


@pytest.mark.parametrize(
    "request_",
    [b"POST / HTTP/1.1\r\ncontent-length: 5\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
     b"POST / HTTP/1.1\r\ncontent-length: 5\r\ncontent-length: 6\r\n\r\nabcdef",
     b"POST / HTTP/1.1\r\ncontent-length: -1\r\n\r\n", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" * 20,
     b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", b"GET http://[ HTTP/1.1\r\n\r\n", b"GET * HTTP/1.1\r\n\r\n",
     b"CONNECT a:1 HTTP/1.1\r\nhost: a\r\n\r\n",
     b"GET / HTTP/1.1\r\nhost: a\r\nconnection: upgrade\r\nupgrade: websocket\r\nsec-websocket-version: 13\r\n\r\n",
     b"GET / HTTP/1.1\r\nhost: a\r\nconnection: upgrade\r\nupgrade: h2c\r\n\r\n", b"GET /\xff\xfe HTTP/1.1\r\n\r\n",
     b"GET / HTTP/9.9\r\n\r\n", b"\x00" * 1_000],
    ids=["two lengths", "contradicting lengths", "negative length", "TLS", "HTTP/2", "no address", "asterisk",
         "CONNECT", "web socket", "h2c", "bytes in the path", "version", "zeros"],
)  # fmt: skip
def test_what_is_no_request_ends_without_a_server_error(port, request_):
    answer = answer_to(port, request_)
    assert answer == CLOSED or 200 <= answer < 500


def test_pipelined_requests_are_answered_in_order(port):
    with connect(port) as client:
        client.sendall(b"GET /v2/health/live HTTP/1.1\r\nhost: a\r\n\r\n" * 300)
        received = b""
        while received.count(b'{"live":true}') < 300 and (got := client.recv(65_536)):
            received += got
    assert received.count(b"HTTP/1.1 200 OK") == 300


def test_grpc_refuses_packed_and_large_messages_and_metadata(server):
    address = f"127.0.0.1:{server.grpc_port}"
    request = pb.ModelInferRequest(model_name="shoprank")
    request.inputs.add(name="query", datatype="BYTES", shape=[1]).contents.bytes_contents.append(b" " * 50_000_000)

    def code(call):
        with pytest.raises(grpc.RpcError) as refusal:
            call()
        return refusal.value.code()

    before = server.peak_memory_mb()
    with grpc.insecure_channel(address, compression=grpc.Compression.Gzip) as channel:
        stub = GRPCInferenceServiceStub(channel)
        assert code(lambda: stub.ModelInfer(request, timeout=LONG_S)) == grpc.StatusCode.UNIMPLEMENTED
    with grpc.insecure_channel(address) as channel:
        stub = GRPCInferenceServiceStub(channel)
        assert code(lambda: stub.ModelInfer(request, timeout=LONG_S)) == grpc.StatusCode.RESOURCE_EXHAUSTED
        flood = [(f"x-{number}", "a" * 100) for number in range(1_000)]
        live = pb.ServerLiveRequest()
        assert code(lambda: stub.ServerLive(live, metadata=flood, timeout=LONG_S)) in (
            grpc.StatusCode.RESOURCE_EXHAUSTED, grpc.StatusCode.UNAVAILABLE)  # fmt: skip
        assert stub.ServerLive(live, timeout=LONG_S, wait_for_ready=True).live
    assert server.peak_memory_mb() - before < 100


def test_silent_grpc_connections_are_closed_and_do_not_keep_others_out(server):
    with idle(server.grpc_port, 4 * CONNECTIONS):
        pass

    def live():
        with grpc.insecure_channel(f"127.0.0.1:{server.grpc_port}") as channel, contextlib.suppress(grpc.RpcError):
            return GRPCInferenceServiceStub(channel).ServerLive(pb.ServerLiveRequest(), timeout=LONG_S).live

    assert eventually(live)
    assert silent(server.grpc_port, LONG_S) is not None


def test_descriptors_suffice_for_the_connections(server):
    soft, _ = resource.prlimit(server.process.pid, resource.RLIMIT_NOFILE)
    assert soft >= 2 * CONNECTIONS
