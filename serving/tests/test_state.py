"""Events of shoppers reach the next answer, on every replica, once each; without their store answers go on."""

import contextlib
import math
import shutil
import signal
import subprocess
import time

import grpc
import httpx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from kserve.protocol.grpc import grpc_predict_v2_pb2 as pb
from kserve.protocol.grpc.grpc_predict_v2_pb2_grpc import GRPCInferenceServiceStub
from kserve.protocol.infer_type import InferResponse

from components.shared.tests.waiting import eventually
from components.validate_serving.predictor import PredictorConfig, running
from serving.state.events import MAX_EVENTS, StoredEvent, kept, parse_events
from serving.state.redis_store import RedisStore
from serving.state.store import LocalStore, StateLimits
from serving.tests.asking import INFER, one, outputs, tensor
from serving.tests.handmade import AS_OF
from tests.ports import free_port

EVENTS = "/v1/events"


class RedisServer:
    """A real server on a port of its own, which can be killed and started again."""

    def __init__(self, folder):
        self.folder, self.port, self.process = folder, free_port(), None
        self.url = f"redis://127.0.0.1:{self.port}/0"

    def start(self):
        command = ["redis-server", "--port", str(self.port), "--bind", "127.0.0.1", "--dir", str(self.folder),
                   "--appendonly", "yes", "--appendfsync", "always", "--save", ""]  # fmt: skip
        with (self.folder / "redis.log").open("ab") as log:
            self.process = subprocess.Popen(command, stdout=log, stderr=log)
        store = self.store()
        assert eventually(lambda: not store.read(["nobody"]).stale), (self.folder / "redis.log").read_text()[-500:]
        store.close()

    def kill(self):
        self.process.kill()
        self.process.wait()

    def store(self, **limits):
        return RedisStore(self.url, "test", StateLimits(**limits), timeout_s=5.0)


@pytest.fixture(scope="module")
def redis(tmp_path_factory):
    if not shutil.which("redis-server"):
        pytest.skip("redis-server is not installed")
    server = RedisServer(tmp_path_factory.mktemp("redis"))
    server.start()
    yield server
    server.kill()


@pytest.fixture(params=["local", "redis"])
def new_store(request):
    """Returns stores of the same kind; those of Redis share what they keep."""
    if request.param == "local":
        yield lambda **limits: LocalStore(StateLimits(**limits))
        return
    server, opened = request.getfixturevalue("redis"), contextlib.ExitStack()

    def made(**limits):
        store = server.store(**limits)
        opened.callback(store.close)
        return store

    with opened:
        yield made


def bought(event_id, timestamp=100, item="oat"):
    return StoredEvent(event_id, timestamp, item, "purchase", 2.5)


def test_events_are_kept_once_and_in_the_order_of_their_times(new_store):
    store = new_store()
    assert store.record({"order": [bought("b", 20), bought("a", 10)]}) == 0
    assert store.record({"order": [bought("b", 99), bought("c", 15)], "other": [bought("b")]}) == 1
    state = store.read(["order", "other", "nobody", "order"])
    assert [(event.event_id, event.timestamp) for event in state.of("order")] == [("a", 10), ("c", 15), ("b", 20)]
    assert len(state.of("other")) == 1 and state.of("nobody") == () and not state.stale


def test_the_latest_events_of_a_shopper_are_kept(new_store):
    store = new_store(max_events=3)
    store.record({"bounded": [bought(f"e{second}", second) for second in (5, 1, 4, 2)]})
    store.record({"bounded": [bought("late", 3), bought("new", 9)]})
    kept_now = [event.timestamp for event in store.read(["bounded"]).of("bounded")]
    assert kept_now == [4, 5, 9]
    # What was dropped as too old is dropped again when it is sent again.
    store.record({"bounded": [bought("e1", 1)]})
    assert [event.timestamp for event in store.read(["bounded"]).of("bounded")] == kept_now


def test_shoppers_without_an_event_for_long_are_forgotten():
    now = [0.0]
    store = LocalStore(StateLimits(ttl_s=10, max_shoppers=2), lambda: now[0])
    for second, name in enumerate(("ann", "bob", "cid")):
        now[0] = second
        store.record({name: [bought("x")]})
    assert sorted(store.read(["ann", "bob", "cid"]).events) == ["bob", "cid"]
    now[0] = 11.5
    assert sorted(store.read(["ann", "bob", "cid"]).events) == ["cid"]


def test_the_memory_of_a_process_holds_five_events_a_shopper_on_average():
    store = LocalStore(StateLimits(max_events=9, max_shoppers=4))
    for name in ("ann", "bob", "cid"):
        store.record({name: [bought(f"{name}{second}", second) for second in range(9)]})
    found = store.read(["ann", "bob", "cid"]).events
    assert sorted(found) == ["bob", "cid"] and len(found["cid"]) == 9


def test_redis_forgets_shoppers_and_ids_are_not_in_its_keys(redis):
    store = redis.store(ttl_s=1)
    store.record({"short@example.com": [bought("x")]})
    keys = subprocess.run(["redis-cli", "-p", str(redis.port), "keys", "test:*"], capture_output=True, text=True)
    assert "test:" in keys.stdout and "example" not in keys.stdout
    assert eventually(lambda: not store.read(["short@example.com"]).events)
    store.close()


@given(st.text(max_size=40).filter(lambda text: text.isprintable()), st.integers(0, 2**40),
       st.one_of(st.just(math.nan), st.floats(0, 1e6)))  # fmt: skip
@settings(deadline=None)
def test_packed_events_are_read_back(item, timestamp, price):
    event = StoredEvent("id", timestamp, item, "view", price)
    again = StoredEvent.unpacked("id", event.packed())
    assert (again.timestamp, again.item_id, again.event_type) == (timestamp, item, "view")
    assert again.price == price or (math.isnan(again.price) and math.isnan(price))


@pytest.fixture(scope="module")
def pair(redis, signed):
    """Two replicas on one Redis."""
    options = PredictorConfig(further=("--state_url", redis.url, "--state_timeout_ms", "2000"))
    with running(signed[0], options) as first, running(signed[0], options) as second:
        with (
            httpx.Client(base_url=first.url, trust_env=False, timeout=60) as one_client,
            httpx.Client(base_url=second.url, trust_env=False, timeout=60) as other_client,
        ):
            yield one_client, other_client, second


def event(event_id, user_id, **fields):
    return {"event_id": event_id, "user_id": user_id, "event_type": "purchase", "item_id": "snack3", **fields}


def send(http, *events):
    return http.post(EVENTS, json={"events": list(events)})


def test_an_event_given_to_one_replica_changes_the_next_answer_of_the_other(pair):
    first, second, replica = pair
    before = one(second, user_id="new-shopper", k=40)
    assert "unknown shopper" in before["note"]
    answer = send(first, event("e1", "new-shopper"), event("e2", "new-shopper", item_id="brand new"))
    assert answer.status_code == 200
    assert answer.json() == {"accepted": 2, "duplicates": 0, "unknown_items": ["brand new"]}
    after = one(second, user_id="new-shopper", k=40)
    reasons = {item["item_id"]: item["reasons"] for item in after["items"]}
    assert after["note"] == "" and "stale" not in after and reasons["snack3"][0].startswith("bought once")
    with grpc.insecure_channel(f"127.0.0.1:{replica.grpc_port}") as channel:
        inputs = [pb.ModelInferRequest.InferInputTensor(name="user_id", datatype="BYTES", shape=[1],
                  contents=pb.InferTensorContents(bytes_contents=[b"new-shopper"]))]  # fmt: skip
        found = GRPCInferenceServiceStub(channel).ModelInfer(
            pb.ModelInferRequest(model_name="shoprank", inputs=inputs), timeout=60
        )
    columns = {output.name: output.as_numpy().tolist() for output in InferResponse.from_grpc(found).outputs}
    assert columns["note"] == [b""] and columns["stale"] == [False]
    assert any(reasons.startswith(b"bought once") for reasons in columns["reasons"][0])


def test_events_add_to_the_stored_history_and_are_counted_once(pair):
    first, second, _ = pair

    def times():
        items = one(second, user_id="ann", query="oat milk", k=3)["items"]
        return next(item["reasons"] for item in items if item["item_id"] == "oat")[1]

    assert times().startswith("bought 6 times")
    for accepted in (1, 0):
        answer = send(first, event("oat-1", "ann", item_id="oat")).json()
        assert (answer["accepted"], answer["duplicates"]) == (accepted, 1 - accepted)
        assert times().startswith("bought 7 times")
    twice = send(first, event("oat-2", "ann", item_id="oat"), event("oat-2", "ann", item_id="oat")).json()
    assert (twice["accepted"], twice["duplicates"]) == (1, 1) and times().startswith("bought 8 times")
    # As of before the events they have not happened; an inline history replaces them.
    assert one(second, user_id="ann", context={"timestamp": AS_OF})["as_of"] < one(second, user_id="ann")["as_of"]
    inline = one(second, user_id="new-shopper", history=[], k=3)
    assert inline.get("note")


def test_suggestions_know_of_events(pair):
    first, second, _ = pair
    send(first, event("s1", "typing", item_id="oat"))
    found = one(second, user_id="typing", suggest="m", k=10)["suggestions"]
    assert any(suggestion["own"] for suggestion in found)


@pytest.mark.parametrize(("changed", "field"), [
    ({"event_id": ""}, "events[0].event_id"), ({"event_id": "no blanks"}, "events[0].event_id"),
    ({"user_id": ""}, "events[0].user_id"), ({"user_id": None}, "events[0].user_id"),
    ({"event_type": "bought"}, "events[0].event_type"), ({"item_id": None}, "events[0].item_id"),
    ({"price": -1}, "events[0].price"), ({"timestamp": "soon"}, "events[0].timestamp"),
    ({"timestamp": AS_OF + 40_000_000}, "events[0].timestamp"), ({"colour": "red"}, "events[0].colour"),
])  # fmt: skip
def test_invalid_events_are_refused_and_named(pair, changed, field):
    answer = send(pair[0], event("x", "refused") | changed)
    assert answer.status_code == 400 and answer.json()["field"] == field and answer.json()["fix"]
    assert one(pair[0], user_id="refused", k=1)["note"], "nothing of a refused request is kept"


@pytest.mark.parametrize("body", [
    b"", b"{", b"[]", b"{}", b'{"events": 5}', b'{"events": []}', b'{"events": [7]}', b'{"events": [], "more": 1}',
])  # fmt: skip
def test_malformed_bodies_are_refused(pair, body):
    answer = pair[0].post(EVENTS, content=body)
    assert answer.status_code == 400 and answer.json()["error"]


def test_a_request_has_a_limited_number_of_events(pair):
    many = [event(f"many-{number}", "many") for number in range(MAX_EVENTS + 1)]
    assert send(pair[0], *many).status_code == 400
    assert send(pair[0], *many[1:]).json()["accepted"] == MAX_EVENTS


def test_a_search_without_an_item_is_accepted_and_changes_nothing(pair):
    asked = {"event_id": "q1", "user_id": "searching", "event_type": "search", "query": "milk"}
    assert send(pair[0], asked).json() == {"accepted": 1, "duplicates": 0, "unknown_items": []}
    assert one(pair[1], user_id="searching", k=1)["note"]
    (event_,) = parse_events(b'{"events": [{"event_id": "a", "user_id": "u", "event_type": "search"}]}', 77)
    assert event_.timestamp == 77 and kept(event_) is None


def test_without_its_store_a_predictor_answers_says_so_and_recovers(redis, pair):
    first, second, _ = pair
    send(first, event("k1", "keeps"))
    redis.kill()
    answer = one(second, user_id="keeps", k=3)
    assert answer["items"] and answer["stale"] is True
    body = {"inputs": [tensor("user_id", ["keeps"])]}
    assert outputs(second.post(INFER, json=body))["stale"] == [True]
    assert "stale" not in one(second, user_id="keeps", history=[], k=1), "nothing is missing from an inline history"
    assert "stale" not in one(second, k=1)
    refused = send(first, event("k2", "keeps"))
    assert refused.status_code == 503 and refused.headers["retry-after"] == "1" and refused.json()["fix"]
    redis.start()
    assert eventually(lambda: "stale" not in one(second, user_id="keeps", k=3))
    assert eventually(lambda: send(first, event("k2", "keeps")).status_code == 200)
    reasons = [item["reasons"] for item in one(second, user_id="keeps", query="snack", k=40)["items"]]
    assert any(reason.startswith("bought 2 times") for some in reasons for reason in some), "nothing acked was lost"


def test_a_store_that_hangs_is_waited_for_once(redis):
    store = RedisStore(redis.url, "test", StateLimits(), timeout_s=0.2)
    store.record({"hung": [bought("h")]})
    redis.process.send_signal(signal.SIGSTOP)
    try:
        assert store.read(["hung"]).stale
        started = time.perf_counter()
        assert all(store.read(["hung"]).stale for _ in range(200))
        assert time.perf_counter() - started < 200 * 0.2 / 4, "only the first read waited"
    finally:
        redis.process.send_signal(signal.SIGCONT)
    assert eventually(lambda: len(store.read(["hung"]).of("hung")) == 1)
    store.close()


def test_without_redis_the_memory_of_the_process_keeps_events(signed):
    with (
        running(signed[0], PredictorConfig()) as predictor,
        httpx.Client(base_url=predictor.url, trust_env=False, timeout=60) as http,
    ):
        assert send(http, event("e1", "local-shopper")).status_code == 200
        answer = one(http, user_id="local-shopper", k=40)
        assert answer["note"] == "" and "stale" not in answer
        lines = http.get("/metrics").text.splitlines()
        assert 'shoprank_events_total{outcome="accepted"} 1.0' in lines
        assert "local-shopper" not in predictor.log.read_text()
