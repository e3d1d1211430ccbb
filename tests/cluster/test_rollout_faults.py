"""Rollouts of candidates that fail or are slow, and rollouts that lose the API server or every watch on the way."""

import contextlib
import threading
import time

import httpx
import pytest

from components.shared.telemetry.inference_log import Answered, LogReader
from components.shared.tests.waiting import eventually
from tests.cluster.bad_candidates import WHO_BOUGHT_NEW, older_vocabulary, oversized
from tests.cluster.cut_connections import cut_connections
from tests.cluster.faults import log_fault
from tests.cluster.rollout_shop import GUARDS, REQUESTS, Shoppers, version_of

pytestmark = [pytest.mark.filterwarnings("ignore:Unverified HTTPS request"), pytest.mark.slow]

# The other guards stay wide, and steps may last: a busy machine's noise must not decide.
FEW_ERRORS = GUARDS.replace(error_tolerance=1.0, negligible=0.02, max_duration_s=120.0)
FEW_SLOW = GUARDS.replace(slow_tolerance=1.0, max_duration_s=120.0)


def assert_champion_serves(shop, pods):
    """As before the rollout, by the same pods."""
    assert shop.served() == shop.champion == shop.registry.aliases("handmade")["champion"]
    assert "canary" not in shop.service()["spec"] and shop.weights() == {"shoprank-predictor": 100}
    assert shop.champion_pods() == pods and shop.actions()[-1] == "rolled_back"


def first_traffic(record):
    """When a look saw the candidate's first requests."""
    return next(seen.time for seen in record.seen if seen.interval.candidate.requests)


def outcomes(shop, version):
    """Outcomes of the requests of clients that a version got, from the inference log."""
    found = LogReader(shop.namespace.folder / "inference-log").read()
    return [one.outcome for one in found if isinstance(one, Answered) and one.version == version and not one.shadow]


def test_candidate_that_fails_at_some_shoppers_is_rolled_back_at_the_first_step(shop):
    candidate, pods = version_of(shop.root, older_vocabulary), shop.champion_pods()
    with Shoppers(shop.open(), requests=(*REQUESTS, *[WHO_BOUGHT_NEW] * 3)) as shoppers:
        record = shop.rollout(candidate, guards=FEW_ERRORS).run()
        time.sleep(2)
        quiet = dict(shoppers.failed)
        time.sleep(2)
        assert shoppers.failed == quiet, "requests fail after the rollback"
    assert record.action == "rolled_back" and {seen.percent for seen in record.seen} == {30}
    assert any(reason.startswith("error rate: ") for reason in record.reasons), record.reasons
    failures = sum(shoppers.failed.values())
    assert all("500 Internal Server Error" in text for text in shoppers.failed), shoppers.failed
    # What clients saw is what the candidate failed at: the champion answered all that it got. A pod that ends writes
    # the rest of its log at the end.
    assert eventually(lambda: outcomes(shop, candidate).count("error") == failures), outcomes(shop, candidate)
    assert "error" not in outcomes(shop, shop.champion)
    assert_champion_serves(shop, pods)
    log_fault("candidate answers 500 to half of the requests, at 30 % of the traffic",
              f"error guard; clients saw {failures} errors among {sum(shoppers.answers.values())} requests, "
              "all of the candidate", record.moved - first_traffic(record))  # fmt: skip


def test_slow_candidate_is_rolled_back_at_the_first_step(shop):
    candidate, pods = version_of(shop.root, oversized), shop.champion_pods()
    with Shoppers(shop.open(), clients=3) as shoppers:
        assert eventually(lambda: shoppers.answers[shop.champion] > 400)
        record = shop.rollout(candidate, guards=FEW_SLOW).run()
    assert record.action == "rolled_back" and {seen.percent for seen in record.seen} == {30}
    assert any("slower than the champion's p99" in reason for reason in record.reasons), record.reasons
    assert shoppers.failed == {} and shoppers.answers[candidate] > 0
    assert_champion_serves(shop, pods)
    log_fault("candidate is slow (its ranker has 150 wide layers more), at 30 % of the traffic",
              f"latency guard after {record.candidate_requests} of its answers; no request failed",
              record.moved - first_traffic(record))  # fmt: skip


def test_rollout_waits_for_an_api_server_that_is_away_between_two_steps(shop, registered, api_server):
    candidate = registered[2]
    with contextlib.closing(api_server.join(shop.namespace.name)) as shop.cluster, Shoppers(shop.open()) as shoppers:
        rollout, waited = shop.rollout(candidate, (20, 60, 100)), []
        shift = rollout.traffic.shift

        def away(percent):
            if percent != 60:
                return shift(percent)
            gone = threading.Thread(target=api_server.restart, args=(20,))
            gone.start()
            assert eventually(lambda: not listens(api_server.proxy.port), poll_s=0.05)
            started = time.monotonic()
            shift(percent)
            waited.append(time.monotonic() - started)
            gone.join()

        rollout.traffic.shift = away
        record = rollout.run()
    assert record.action == "promoted", record.reasons
    assert waited[0] > 19 and {seen.percent for seen in record.seen} == {20, 60, 100}
    assert shop.served() == candidate == shop.registry.aliases("handmade")["champion"] and shoppers.failed == {}
    log_fault("API server away for 20 s between two steps of a rollout", "the step waited; promoted", waited[0] - 20)


def listens(port):
    """Whether something takes connections at a port of 127.0.0.1."""
    try:
        httpx.get(f"http://127.0.0.1:{port}", trust_env=False, timeout=2)
    except httpx.ConnectError:
        return False
    except httpx.HTTPError:
        pass
    return True


def test_rollout_goes_on_when_all_watches_are_cut(shop, registered):
    candidate = registered[2]
    with Shoppers(shop.open()) as shoppers:
        rollout, ended, seconds = shop.rollout(candidate, (20, 60, 100)), [], []

        def cut_before(change):
            def changed(*given):
                ended.append(cut_connections(shop.namespace.platform))
                started = time.monotonic()
                change(*given)
                seconds.append(time.monotonic() - started)

            return changed

        rollout.traffic.shift = cut_before(rollout.traffic.shift)
        rollout.traffic.promote = cut_before(rollout.traffic.promote)
        record = rollout.run()
    assert record.action == "promoted", record.reasons
    # Before each of three steps and before the promotion; the slowest of the steps tells how long watches were missed.
    assert len(ended) == 4 and min(ended) > 5, ended
    assert shop.served() == candidate == shop.registry.aliases("handmade")["champion"] and shoppers.failed == {}
    log_fault("all watches of KServe, Envoy Gateway and the node cut before each step and the promotion",
              "nothing was missed; promoted", max(seconds[:3]))  # fmt: skip
