"""Whole rollouts: a real API server, real predictors behind a simulated KServe, live load, and the real judge."""

import json
import os
import signal
import threading
import time

import pytest

from components.rollout_model.evidence import PrometheusEvidence, Versions
from components.rollout_model.guards import GuardConfig, Metric
from components.rollout_model.rollout import Stopped
from components.shared.cluster.kinds import HTTP_ROUTE
from components.shared.tests.waiting import eventually
from tests.cluster.faults import log_fault
from tests.cluster.prometheus import scraped, scraping
from tests.cluster.rollout_shop import GUARDS, Shop, sold_out, version_of

COUNTED = GUARDS.replace(judged=tuple(metric for metric in Metric if metric is not Metric.OVERLAP))
"""Without the overlap guard, which also reacts to empty answers: either of the two might fire first."""

pytestmark = [pytest.mark.filterwarnings("ignore:Unverified HTTPS request"), pytest.mark.slow]


def test_equal_candidate_is_promoted_step_by_step_without_a_failed_request(registry_copy, cluster):
    root, candidate = registry_copy
    weights = []
    with Shop(root, cluster, gateway="shoprank") as shop:
        rollout = shop.rollout(candidate, (20, 60, 100))
        shift = rollout.traffic.shift

        def shifted(percent):
            shift(percent)
            backends = shop.cluster.get(HTTP_ROUTE, "shoprank")["spec"]["rules"][0]["backendRefs"]
            weights.append({one["name"]: one["weight"] for one in backends})

        rollout.traffic.shift = shifted
        record = rollout.run()
        assert (record.action, record.champion, record.candidate) == ("promoted", shop.champion, candidate)
        assert [percent for percent in (20, 60, 100) if percent in {seen.percent for seen in record.seen}] == [
            20,
            60,
            100,
        ]
        assert shop.served() == candidate == shop.registry.aliases("handmade")["champion"]
        assert "canary" not in shop.service()["spec"]
        assert eventually(lambda: not shop.kserve.pod_url("candidate"))
        overlaps = [value for seen in record.seen for value in seen.interval.overlaps]
        assert overlaps and set(overlaps) == {1.0}, "the shadow's copies, never compared with themselves"
    names = ("shoprank-predictor", "shoprank-candidate-predictor")
    assert weights == [dict(zip(names, pair, strict=True)) for pair in ((80, 20), (40, 60), (0, 100))]
    assert cluster.get(HTTP_ROUTE, "shoprank")["spec"]["rules"][0]["backendRefs"] == [
        {"name": "shoprank-predictor", "port": 80, "weight": 100, "group": "", "kind": "Service"}
    ]
    assert shop.answers.get("failed", 0) == 0 and shop.answers[candidate] >= 80
    assert shop.actions()[-3:] == ["rollout_begin", "promote", "promoted"]
    assert not shop.registry.open_rollout("handmade").exists()


def test_candidate_with_empty_answers_is_rolled_back(registry_copy, cluster):
    root, _ = registry_copy
    candidate = version_of(root, sold_out)
    with Shop(root, cluster) as shop:
        record = shop.rollout(candidate, guards=COUNTED).run()
        assert record.action == "rolled_back" and "empty" in " ".join(record.reasons)
        first = next(seen.time for seen in record.seen if seen.interval.candidate.requests)
        happened = f"rolled back after {record.candidate_requests} of its answers"
        log_fault("candidate answers nothing, at 30 % of the traffic", happened, record.moved - first)
        assert shop.served() == shop.champion == shop.registry.aliases("handmade")["champion"]
        assert "canary" not in shop.service()["spec"] and record.moved - record.decided < 5
        assert eventually(lambda: shop.kserve.percent == 0)
    assert shop.actions()[-2:] == ["rollout_begin", "rolled_back"]
    entry = shop.registry.audit("handmade").entries()[-1]
    assert entry["version"] == candidate and entry["reasons"] == list(record.reasons)


def test_candidate_that_crashes_under_traffic_is_rolled_back(registry_copy, cluster):
    root, candidate = registry_copy
    with Shop(root, cluster) as shop:
        rollout = shop.rollout(candidate, guards=GuardConfig(min_sample=10_000, max_duration_s=60, min_duration_s=0))
        killer = threading.Thread(target=lambda: (
            eventually(lambda: shop.answers.get(candidate, 0) > 5), shop.kserve.pod("candidate").process.kill()
        ))  # fmt: skip
        killer.start()
        record = rollout.run()
        killer.join()
    log_fault("candidate's pod killed under traffic", "pods not ready at 3 looks, 0.5 s apart: rolled back",
         record.moved - record.seen[-3].time)  # fmt: skip
    assert record.action == "rolled_back" and "pods were not ready" in record.reasons[0]


def test_candidate_that_cannot_be_loaded_gets_no_traffic(registry_copy, cluster):
    root, candidate = registry_copy
    with Shop(root, cluster) as shop:
        shop.kserve.fails_to_load.add(candidate)
        record = shop.rollout(candidate).run()
    log_fault(
        "candidate's bundle cannot be loaded",
        "never got traffic; the candidate is removed",
        record.moved - record.began,
    )
    assert record.action == "rolled_back" and record.reasons[0].startswith("dark launch: ")
    assert "failed to load" in record.reasons[0] and record.seen == () and candidate not in shop.answers


def test_rollout_without_traffic_is_rolled_back(registry_copy, cluster):
    root, candidate = registry_copy
    with Shop(root, cluster) as shop:
        shop.quiet()
        guards = GuardConfig(min_sample=10, min_duration_s=0, max_duration_s=2)
        record = shop.rollout(candidate, guards=guards).run()
        assert shop.served() == shop.champion
    assert record.action == "rolled_back" and record.candidate_requests == 0


class Killed(Exception):
    """Stands for the sudden end of the process."""


def test_retry_of_a_killed_rollout_resumes_with_its_observations(registry_copy, cluster):
    root, candidate = registry_copy
    with Shop(root, cluster) as shop:
        first = shop.rollout(candidate, (20, 60, 100))
        read, looks = first.evidence.read, []

        def dies_in_the_second_step(slow):
            looks.append(first.traffic.percent())
            if looks.count(60) == 2:
                raise Killed
            return read(slow)

        first.evidence.read = dies_in_the_second_step
        with pytest.raises(Killed):
            first.run()
        assert first.traffic.percent() == 60, "nobody tidied up"
        state, retried_at = json.loads(shop.registry.open_rollout("handmade").read_text()), time.time()
        record = shop.rollout(candidate, (20, 60, 100)).run()
        assert record.action == "promoted"
        assert record.began == state["began"] and len(state["seen"]) < len(record.seen)
        log_fault("rollout step killed at 60 %", "the retry went on at 60 % with what was seen before, then promoted",
             next(seen.time for seen in record.seen[len(state["seen"]):]) - retried_at)  # fmt: skip
        assert [seen.to_json() for seen in record.seen[: len(state["seen"])]] == state["seen"]
    assert shop.actions().count("rollout_begin") == 1


def test_rollout_stopped_by_sigterm_returns_the_traffic_to_the_champion(registry_copy, cluster):
    root, candidate = registry_copy
    with Shop(root, cluster) as shop:
        rollout = shop.rollout(candidate, guards=GuardConfig(min_sample=10_000, max_duration_s=60, min_duration_s=0))
        stop = threading.Thread(target=lambda: (
            eventually(lambda: shop.answers.get(candidate, 0) > 3), os.kill(os.getpid(), signal.SIGTERM)
        ))  # fmt: skip
        stop.start()
        with pytest.raises(Stopped):
            rollout.run()
        stopped = shop.registry.audit("handmade").entries()[-1]
        log_fault("pipeline run cancelled during a rollout", "all traffic back to the champion, the candidate removed",
             stopped["seconds_to_move"])  # fmt: skip
        stop.join()
        assert "canary" not in shop.service()["spec"] and shop.served() == shop.champion
    assert shop.actions()[-1] == "rolled_back" and signal.getsignal(signal.SIGTERM) is signal.SIG_DFL


@pytest.mark.parametrize("good", [True, False], ids=["promoted", "rolled-back"])
def test_knative_rollout_is_promoted_or_rolled_back(registry_copy, cluster, good):
    root, candidate = registry_copy
    candidate = candidate if good else version_of(root, sold_out)
    with Shop(root, cluster, "Knative") as shop:
        record = shop.rollout(candidate).run()
        predictor = shop.service()["spec"]["predictor"]
        assert record.action == ("promoted" if good else "rolled_back")
        assert shop.served() == (candidate if good else shop.champion)
        assert "canaryTrafficPercent" not in predictor
        assert "shoprank.example/candidate" not in shop.service()["metadata"]["annotations"]
        assert eventually(lambda: shop.kserve.percent == 0)
    assert shop.answers.get("failed", 0) == 0


def test_rollout_is_decided_by_evidence_from_prometheus(registry_copy, cluster, tmp_path):
    root, _ = registry_copy
    candidate = version_of(root, sold_out)
    with Shop(root, cluster) as shop:
        targets = [shop.kserve.champion.url.removeprefix("http://"), shop.kserve.candidate.url.removeprefix("http://")]
        with scraping(tmp_path, targets[:1]) as (url, listed):
            listed.write_text(json.dumps([{"targets": targets}]))
            scraped(url, targets=2)
            evidence = PrometheusEvidence(url, Versions(shop.champion, candidate))
            record = shop.rollout(candidate, guards=COUNTED, evidence=evidence).run()
    assert record.action == "rolled_back" and "empty" in " ".join(record.reasons)
