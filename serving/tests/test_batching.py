"""Requests that wait are answered together, in time or not at all; the queue is bounded, and nobody waits in vain."""

import asyncio
import json
import signal
import socket
import threading
from concurrent.futures import ThreadPoolExecutor
from urllib.parse import urlsplit

import grpc
import httpx
import pytest
from kserve.protocol.grpc import grpc_predict_v2_pb2 as pb
from kserve.protocol.grpc.grpc_predict_v2_pb2_grpc import GRPCInferenceServiceStub

from components.shared.tests.waiting import eventually
from components.validate_serving.predictor import PredictorConfig, running
from serving.batching import Batcher, DeadlineExceeded, Job, Overloaded
from serving.protocol import parse_instance
from serving.tests.asking import PREDICT

LONG = 60_000


class Held:
    """Answers instances with their queries, in upper case; each call waits until it is let go."""

    def __init__(self):
        self.calls, self.let_go = [], threading.Semaphore(0)

    def __call__(self, instances, request_ids, copies):
        self.calls.append([instance.query for instance in instances])
        assert self.let_go.acquire(timeout=60)
        if any(instance.query == "broken" for instance in instances):
            raise ValueError("broken")
        return [instance.query.upper() for instance in instances]


def job(*queries, alone=None):
    return Job([parse_instance({"query": query}) for query in queries], list(queries), alone=alone)


def batching(scenario, held, threads=1, max_rows=4, max_pending=100):
    """Run a coroutine with a batcher."""

    async def run():
        batcher = Batcher(held, threads, max_rows, max_pending)
        try:
            return await asyncio.wait_for(scenario(batcher), 60)
        finally:
            batcher.close(lambda: None)

    return asyncio.run(run())


async def asked(batcher, *queries, deadline_ms=LONG):
    """A task for each query, all of them in the queue or running."""
    tasks = [asyncio.create_task(batcher.answered(job(query), deadline_ms)) for query in queries]
    await asyncio.sleep(0)
    return tasks


def test_an_idle_model_takes_a_request_at_once_and_what_waits_is_answered_together():
    held = Held()

    async def scenario(batcher):
        tasks = await asked(batcher, *"abcdef")
        held.let_go.release(3)
        return await asyncio.gather(*tasks)

    assert batching(scenario, held) == [["A"], ["B"], ["C"], ["D"], ["E"], ["F"]]
    assert held.calls == [["a"], ["b", "c", "d", "e"], ["f"]]


def test_a_large_request_is_a_batch_of_its_own_and_explanations_are_never_joined():
    held = Held()

    async def scenario(batcher):
        first = await asked(batcher, "a")
        explained = job("x", alone=lambda instances, _: [f"why {one.query}" for one in instances])
        jobs = [job("b"), explained, job("c"), job(*"defghi"), job("j")]
        tasks = [asyncio.create_task(batcher.answered(one, LONG)) for one in jobs]
        held.let_go.release(5)
        return await asyncio.gather(*first, *tasks)

    answers = batching(scenario, held)
    assert answers == [["A"], ["B"], ["why x"], ["C"], list("DEFGHI"), ["J"]]
    assert held.calls == [["a"], ["b"], ["c"], list("defghi"), ["j"]]


def test_requests_whose_clients_have_gone_leave_the_queue():
    held = Held()

    async def scenario(batcher):
        first, gone, last = await asked(batcher, *"abc")
        gone.cancel()
        held.let_go.release(2)
        found = await asyncio.gather(first, last)
        assert gone.cancelled()
        return found

    assert batching(scenario, held) == [["A"], ["C"]]
    assert held.calls == [["a"], ["c"]]


def test_a_deadline_ends_what_waits_and_what_runs():
    held = Held()

    async def scenario(batcher):
        (running_,) = await asked(batcher, "a", deadline_ms=50)
        (waiting,) = await asked(batcher, "b", deadline_ms=50)
        (patient,) = await asked(batcher, "c")
        for task in (running_, waiting):
            with pytest.raises(DeadlineExceeded) as error:
                await task
            assert str(error.value) == "no answer within 50 ms"
        held.let_go.release(2)
        return await patient

    assert batching(scenario, held) == ["C"]
    assert held.calls == [["a"], ["c"]], "what was late before it began was not computed"


def test_a_full_queue_refuses_and_takes_requests_again_when_it_has_room():
    held = Held()

    async def scenario(batcher):
        tasks = await asked(batcher, *"abc")
        (refused,) = await asked(batcher, "d")
        with pytest.raises(Overloaded) as error:
            await refused
        held.let_go.release(9)
        await asyncio.gather(*tasks)
        return error.value, await batcher.answered(job("e"), LONG)

    error, later = batching(scenario, held, max_pending=3)
    assert error.retry_after_s >= 1 and "3 requests are waiting" in str(error) and later == ["E"]


def test_an_error_fails_its_own_request_only():
    held = Held()

    async def scenario(batcher):
        tasks = await asked(batcher, "a", "b", "broken", "c")
        held.let_go.release(9)
        return await asyncio.gather(*tasks, return_exceptions=True)

    first, second, broken, last = batching(scenario, held)
    assert (first, second, last) == (["A"], ["B"], ["C"])
    assert isinstance(broken, ValueError)


def test_closing_answers_what_waits():
    held, ended = Held(), []

    async def run():
        batcher = Batcher(held, threads=1, max_rows=4, max_pending=9)
        tasks = await asked(batcher, *"ab")
        batcher.close(lambda: ended.append(len(held.calls)))
        assert not ended
        held.let_go.release(2)
        return await asyncio.gather(*tasks)

    assert asyncio.run(run()) == [["A"], ["B"]] and ended == [2]


@pytest.fixture(scope="module")
def narrow(signed):
    """A predictor with one thread that lets two requests wait or run."""
    with running(signed[0], PredictorConfig(further=("--threads", "1", "--max_pending", "2"))) as found:
        yield found


@pytest.fixture(scope="module")
def http(narrow):
    with httpx.Client(base_url=narrow.url, trust_env=False, timeout=60) as client:
        yield client


MANY = {"instances": [{"user_id": "ann", "k": 40}] * 64}


def test_too_many_requests_get_429_that_says_when_to_try_again(http):
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda _: http.post(PREDICT, json=MANY), range(8)))
    statuses = [answer.status_code for answer in answers]
    assert set(statuses) == {200, 429}
    refused = answers[statuses.index(429)]
    assert int(refused.headers["retry-after"]) >= 1 and refused.json()["fix"] and "waiting" in refused.json()["error"]
    assert http.post(PREDICT, json={"instances": [{"k": 1}]}).status_code == 200


def test_a_missed_deadline_is_504_and_a_wrong_one_400(http):
    late = http.post(PREDICT, json=MANY, headers={"x-request-deadline-ms": "1"})
    assert late.status_code == 504 and "no answer within 1 ms" in late.json()["error"]
    for wrong in ("soon", "0", "-5", "nan", "1e300"):
        answer = http.post(PREDICT, json=MANY, headers={"X-Request-Deadline-Ms": wrong})
        assert answer.status_code == 400 and answer.json()["field"] == "x-request-deadline-ms"
    one = {"instances": [{"k": 1}]}
    assert eventually(lambda: http.post(PREDICT, json=one, headers={"x-request-deadline-ms": "50000"}).is_success)


def test_grpc_has_the_same_deadline_and_limit(narrow):
    inputs = [pb.ModelInferRequest.InferInputTensor(
        name="user_id", datatype="BYTES", shape=[64], contents=pb.InferTensorContents(bytes_contents=[b"ann"] * 64)
    )]  # fmt: skip
    request = pb.ModelInferRequest(model_name="shoprank", inputs=inputs)
    with grpc.insecure_channel(f"127.0.0.1:{narrow.grpc_port}") as channel:
        stub = GRPCInferenceServiceStub(channel)
        with pytest.raises(grpc.RpcError) as late:
            stub.ModelInfer(request, metadata=[("x-request-deadline-ms", "1")], timeout=60)
        assert late.value.code() == grpc.StatusCode.DEADLINE_EXCEEDED

        def code(_):
            try:
                stub.ModelInfer(request, timeout=60)
            except grpc.RpcError as error:
                return error.code()
            return grpc.StatusCode.OK

        with ThreadPoolExecutor(8) as pool:
            codes = set(pool.map(code, range(8)))
    assert codes == {grpc.StatusCode.OK, grpc.StatusCode.RESOURCE_EXHAUSTED}


def _metric(http, name):
    lines = http.get("/metrics").text.splitlines()
    return next((float(line.rsplit(" ", 1)[1]) for line in lines if line.startswith(name)), 0.0)


def test_a_closed_connection_takes_its_request_out_of_the_queue(narrow, http):
    ran = 'shoprank_stage_seconds_count{stage="wait"}'
    before, body = _metric(http, ran), json.dumps({"instances": [{"k": 1}]}).encode()
    with ThreadPoolExecutor(1) as pool:
        # Explaining calls the ranker many times for every instance.
        slow = pool.submit(http.post, PREDICT.replace(":predict", ":explain"), json=MANY)
        assert eventually(lambda: _metric(http, "shoprank_pending_requests") == 1)
        address = urlsplit(narrow.url)
        with socket.create_connection((address.hostname, address.port), timeout=30) as connection:
            head = f"POST {PREDICT} HTTP/1.1\r\nhost: x\r\ncontent-length: {len(body)}\r\n\r\n"
            connection.sendall(head.encode() + body)
            assert eventually(lambda: _metric(http, "shoprank_pending_requests") == 2) and not slow.done()
        assert eventually(lambda: _metric(http, "shoprank_pending_requests") < 2) and not slow.done()
        assert slow.result().status_code == 200
    assert http.post(PREDICT, json={"instances": [{"k": 1}]}).status_code == 200
    assert _metric(http, ran) == before + 2, "the request of the closed connection never ran"
    assert _metric(http, "shoprank_cancelled_total") == 1
    lines = http.get("/metrics").text.splitlines()
    assert not [line for line in lines if line.startswith("shoprank_outcomes_total") and 'outcome="error"' in line]


def test_ending_the_process_loses_no_answer(signed, tmp_path):
    log = tmp_path / "log"
    further = ("--threads", "1", "--inference_log", str(log))
    with running(signed[0], PredictorConfig(further=further)) as predictor:
        with httpx.Client(base_url=predictor.url, trust_env=False, timeout=60) as http, ThreadPoolExecutor(20) as pool:
            answers = [pool.submit(http.post, PREDICT, json=MANY) for _ in range(20)]
            assert eventually(lambda: _metric(http, "shoprank_pending_requests") >= 10)
            predictor.process.send_signal(signal.SIGTERM)
            statuses = [answer.result().status_code for answer in answers]
        predictor.process.wait(60)
    assert statuses == [200] * 20
    rows = [json.loads(line) for path in log.glob("**/*.jsonl") for line in path.read_text().splitlines()]
    assert len(rows) == 20 * 64
