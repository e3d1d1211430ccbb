"""Evidence from two real predictors, read from a real Prometheus server and from their inference logs."""

import contextlib
import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import httpx
import pytest

from components.rollout_model.evidence import LogEvidence, PrometheusEvidence, Versions
from components.rollout_model.run import evidence_at
from components.shared.errors import InputError
from components.shared.telemetry.inference_log import Answered, Compared, LogWriter
from components.shared.tests.waiting import eventually
from components.validate_serving.predictor import PredictorConfig, running
from tests.cluster.prometheus import scraped, scrapes, scraping

PREDICT = "/v1/models/shoprank:predict"
NOTHING = {"filters": {"categories": ["no such category"]}}


@pytest.fixture(scope="module")
def predictors(registered_versions, tmp_path_factory):
    """Champion with the candidate as its shadow: (clients, versions, Prometheus URL, file of targets, log folder)."""
    folder = tmp_path_factory.mktemp("pair")
    root, one, two = registered_versions
    logs = folder / "logs"
    with contextlib.ExitStack() as stack:
        bundles = [root / "handmade" / "versions" / version for version in (one, two)]
        log_flags = ("--inference_log", str(logs))
        candidate = stack.enter_context(running(bundles[1], PredictorConfig(further=log_flags)))
        further = (*log_flags, "--shadow_url", candidate.url)
        champion = stack.enter_context(running(bundles[0], PredictorConfig(further=further)))
        clients = [stack.enter_context(httpx.Client(base_url=at.url, trust_env=False)) for at in (champion, candidate)]
        targets = [at.url.removeprefix("http://") for at in (champion, candidate)]
        prometheus, listed = stack.enter_context(scraping(folder, targets))
        yield clients, Versions(one, two), prometheus, listed, logs


@pytest.fixture
def pair(predictors):
    """The `predictors`, once Prometheus has scraped the requests of earlier tests."""
    scraped(predictors[2], targets=2)
    return predictors


def read_totals(evidence, slow, requests):
    """Read intervals until they hold that many requests; return their totals and overlaps."""
    total, overlaps = {"champion": [0, 0, 0, 0], "candidate": [0, 0, 0, 0]}, []

    def complete() -> bool:
        interval = evidence.read(slow)
        for name in total:
            arm = getattr(interval, name)
            found = (arm.requests, arm.errors, arm.empty, arm.slow)
            total[name] = [a + b for a, b in zip(total[name], found, strict=True)]
        overlaps.extend(interval.overlaps)
        return [total["champion"][0], total["candidate"][0]] == requests and len(overlaps) >= requests[0]

    eventually(complete)
    return total, overlaps


def read_candidate(evidence, slow, requests):
    """Read the candidate's counts per interval until they hold that many requests."""
    arms = []
    eventually(lambda: arms.append(evidence.read(slow).candidate) or sum(arm.requests for arm in arms) >= requests)
    return arms


def test_prometheus_and_inference_log_count_the_same_requests(pair):
    clients, versions, prometheus, _, logs = pair
    for _ in range(5):
        clients[0].post(PREDICT, json={"instances": [{"k": 5}]})
    scraped(prometheus, targets=2)
    sources = PrometheusEvidence(prometheus, versions), LogEvidence(logs, versions)
    limits = [source.p99() for source in sources]
    assert all(0.001 <= value < 1 for value in limits) and limits[1] <= limits[0] <= limits[1] * 2
    for source in sources:
        source.begin(limits[0])
    for client, count in ((clients[0], 20), (clients[1], 10)):
        for number in range(count):
            request = NOTHING if number < 4 else {"k": 5}
            assert client.post(PREDICT, json={"instances": [request]}).status_code == 200
    for source in sources:
        total, overlaps = read_totals(source, limits[0], [20, 10])
        assert total["champion"][:3] == [20, 0, 4] and total["candidate"][:3] == [10, 0, 4]
        assert 0 <= total["champion"][3] <= 20
        assert overlaps == [1.0] * 20, "the same model answers the copies"
        again = source.read(limits[0])
        assert (again.champion.requests, again.candidate.requests, again.overlaps) == (0, 0, ())


def test_slow_requests_are_counted_by_the_given_limit(pair):
    clients, versions, prometheus, _, logs = pair
    for limit, slow in ((0.0005, 6), (30.0, 0)):
        for source in (PrometheusEvidence(prometheus, versions), LogEvidence(logs, versions)):
            scraped(prometheus, targets=2)
            source.begin(limit)
            for _ in range(6):
                clients[1].post(PREDICT, json={"instances": [{"k": 1}]})
            arms = read_candidate(source, limit, 6)
            assert (sum(arm.requests for arm in arms), sum(arm.slow for arm in arms)) == (6, slow)


def test_restored_evidence_continues_where_the_saved_one_stopped(pair):
    clients, versions, prometheus, _, logs = pair
    for make in (lambda: PrometheusEvidence(prometheus, versions), lambda: LogEvidence(logs, versions)):
        scraped(prometheus, targets=2)
        first = make()
        first.begin(1.0)
        state = json.loads(json.dumps(first.to_json()))
        for _ in range(3):
            clients[1].post(PREDICT, json={"instances": [{"k": 1}]})
        second = make()
        second.restore(state)
        assert sum(arm.requests for arm in read_candidate(second, 1.0, 3)) == 3


def test_counters_of_a_restarted_pod_are_counted_from_zero(pair, registered_versions):
    _, versions, prometheus, listed, _ = pair
    before = listed.read_text()
    try:
        evidence = PrometheusEvidence(prometheus, versions)
        evidence.begin(1.0)
        bundle = registered_versions[0] / "handmade" / "versions" / versions.candidate
        total, port = 0, 0
        for count in (4, 3):
            with running(bundle, PredictorConfig(http_port=port)) as pod, httpx.Client(trust_env=False) as client:
                port = int(pod.url.rsplit(":", 1)[1])
                targets = json.loads(before)[0]["targets"]
                listed.write_text(json.dumps([{"targets": [*targets, f"127.0.0.1:{port}"]}]))
                for _ in range(count):
                    client.post(pod.url + PREDICT, json={"instances": [{"k": 1}]})
                total += sum(arm.requests for arm in read_candidate(evidence, 1.0, count))
        assert total == 7
    finally:
        listed.write_text(before)


def test_same_version_in_another_namespace_is_not_counted(pair, registered_versions):
    _, versions, prometheus, listed, _ = pair
    before = listed.read_text()
    bundle = registered_versions[0] / "handmade" / "versions" / versions.candidate
    try:
        config = PredictorConfig()
        with (
            running(bundle, config) as elsewhere, running(bundle, config) as here,
            httpx.Client(trust_env=False) as client,
        ):  # fmt: skip
            addresses = [one.url.removeprefix("http://") for one in (elsewhere, here)]
            labelled = [{"targets": [address], "labels": {"namespace": name}}
                        for address, name in zip(addresses, ("staging", "shop"), strict=True)]  # fmt: skip
            listed.write_text(json.dumps([*json.loads(before), *labelled]))
            assert eventually(lambda: set(addresses) <= set(scrapes(prometheus)))
            evidence = evidence_at(prometheus, versions, namespace="shop")
            evidence.begin(1.0)
            for pod, count in ((elsewhere, 5), (here, 3)):
                for _ in range(count):
                    client.post(pod.url + PREDICT, json={"instances": [{"k": 1}]})
            scraped(prometheus, targets=4)
            assert evidence.read(1.0).candidate.requests == 3
            pair[0][1].post(PREDICT, json={"instances": [{"k": 1}]})
            scraped(prometheus, targets=4)
            assert evidence.read(1.0).candidate.requests == 1, "a Prometheus that writes no namespaces"
    finally:
        listed.write_text(before)


@contextlib.contextmanager
def prometheus_stub(scrapes):
    """A stub of Prometheus that answers each query with the next of the given scrapes of version b.

    Args:
        scrapes: Number of requests counted by outcome, and of those counted by latency, which are all slow.
    """
    remaining = list(scrapes)

    class Front(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            outcomes, timed = remaining.pop(0)
            version_labels = {"version": "b", "traffic": "live"}
            series = [
                ({"__name__": "shoprank_outcomes_total", "outcome": "ok", **version_labels}, outcomes),
                ({"__name__": "shoprank_answer_seconds_bucket", "le": "+Inf", **version_labels}, timed),
                ({"__name__": "shoprank_answer_seconds_bucket", "le": "1.0", **version_labels}, 0),
            ]
            result = [{"metric": labels, "value": [0, str(value)]} for labels, value in series]
            body = json.dumps({"status": "success", "data": {"result": result}}).encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Front) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()
    assert not remaining, "one look asks once: a scrape between two questions would tear the counts apart"


@pytest.mark.parametrize("between", [(6, 0), (0, 6), (4, 6)])
def test_slow_never_exceeds_requests_if_a_scrape_splits_the_counters(between):
    with prometheus_stub([(0, 0), between, (6, 6), (9, 9)]) as url:
        evidence = PrometheusEvidence(url, Versions("a", "b"))
        evidence.begin(1.0)
        first = [evidence.read(1.0).candidate for _ in range(2)]
        state = json.loads(json.dumps(evidence.to_json()))
        evidence = PrometheusEvidence(url, Versions("a", "b"))
        evidence.restore(state)
        arms = [*first, evidence.read(1.0).candidate]
    assert all(arm.slow <= arm.requests for arm in arms)
    assert sum(arm.requests for arm in arms) == 9
    # Slow answers without a counted request are carried over to later requests, up to the number of those.
    assert sum(arm.slow for arm in arms) == (9 if between != (6, 0) else 3)


def test_unreachable_prometheus_yields_an_interval_without_requests():
    evidence = PrometheusEvidence("http://127.0.0.1:9", Versions("a", "b"))
    interval = evidence.read(1.0)
    assert (interval.champion.requests, interval.candidate.requests) == (0, 0)


def test_log_evidence_counts_errors_and_ignores_other_versions(tmp_path):
    evidence = LogEvidence(tmp_path, Versions("a", "b"))
    writer = LogWriter(tmp_path, "pod")
    for version, outcome, shadow in (
        ("b", "error", False),
        ("b", "busy", False),
        ("b", "ok", True),
        ("c", "error", False),
    ):
        writer.write(Answered(time=0, request_id="r", version=version, outcome=outcome, seconds=1, shadow=shadow))
    compared = {"time": 0, "request_id": "r", "version": "a", "drift": 0, "seconds": 1}
    writer.write(Compared(candidate="b", overlap=0.5, **compared))
    writer.write(Compared(candidate="c", overlap=0.1, **compared))
    writer.close()
    interval = evidence.read(0.5)
    assert (interval.candidate.requests, interval.candidate.errors, interval.candidate.slow) == (2, 2, 2)
    assert interval.champion.requests == 0 and interval.overlaps == (0.5,)


def test_invalid_prometheus_url_and_missing_log_folder_are_refused(tmp_path):
    with pytest.raises(InputError, match="prometheus is 'monitoring:9090'"):
        PrometheusEvidence("monitoring:9090", Versions("a", "b"))
    with pytest.raises(InputError, match="does not exist"):
        LogEvidence(tmp_path / "none", Versions("a", "b"))
