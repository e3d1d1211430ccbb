"""Rollouts that a real Prometheus decides: it finds the pods of champion and candidate by our ServiceMonitor."""

import httpx
import pytest

from components.rollout_model.evidence import Versions
from components.rollout_model.record import read_record
from components.rollout_model.run import evidence_at
from components.shared.tests.waiting import eventually
from tests.cluster.faults import log_fault
from tests.cluster.rollout_shop import Shoppers, sold_out, version_of
from tests.cluster.rollout_steps import Steps, options
from tests.cluster.test_rollouts import COUNTED

pytestmark = [pytest.mark.filterwarnings("ignore:Unverified HTTPS request"), pytest.mark.slow]

SERVICE = "http://prometheus.monitoring:9090"
"""As our READMEs name it."""


def targets(node, namespace):
    """What Prometheus scrapes in a namespace: pods by Service."""
    found = httpx.get(f"{node.prometheus}/api/v1/targets", trust_env=False, params={"state": "active"}).json()
    labels = [one["labels"] for one in found["data"]["activeTargets"] if one["health"] == "up"]
    return sorted((one["service"], one["pod"]) for one in labels if one["namespace"] == namespace)


def counted(record):
    """Requests that the rollout counted: (champion's, candidate's, compared)."""
    intervals = [seen.interval for seen in record.seen]
    return (sum(one.champion.requests for one in intervals), sum(one.candidate.requests for one in intervals),
            sum(len(one.overlaps) for one in intervals))  # fmt: skip


def test_equal_candidate_is_promoted_on_the_evidence_of_prometheus(shop, registered, node):
    candidate, found = registered[2], []
    steps = Steps(shop, candidate, options() | {"evidence": SERVICE})
    with Shoppers(shop.open()) as shoppers:
        assert eventually(lambda: targets(node, shop.namespace.name)), "Prometheus does not find the champion"
        steps.start("step")

        def decided():
            found.extend(targets(node, shop.namespace.name))
            return steps.phase("step") in ("Succeeded", "Failed")

        assert eventually(decided, 240, poll_s=0.5), steps.log("step")
    assert steps.log("step").splitlines()[-1] == "promoted"
    assert {service for service, _ in found} == {"shoprank-predictor", "shoprank-candidate-predictor"}
    assert all(pod.startswith(service) for service, pod in found), "each pod is a target once, by its own Service"
    record = read_record(shop.registry.rollouts("handmade", candidate)[-1])
    champion, seen, compared = counted(record)
    golden = 3  # The dark launch asks them.
    assert 0 < champion <= shoppers.answers[shop.champion] and compared > 0
    assert 80 <= seen <= shoppers.answers[candidate] + golden
    assert shop.served() == candidate == shop.registry.aliases("handmade")["champion"] and shoppers.failed == {}
    log_fault("none: equal candidate, two steps, decided by Prometheus", "promoted; no request failed",
              record.moved - record.began)  # fmt: skip


def test_candidate_with_empty_answers_is_rolled_back_on_the_evidence_of_prometheus(shop, node):
    candidate, pods = version_of(shop.root, sold_out), shop.champion_pods()
    versions = Versions(shop.champion, candidate)
    evidence = evidence_at(node.prometheus, versions, namespace=shop.namespace.name)
    with Shoppers(shop.open()) as shoppers:
        assert eventually(lambda: evidence.p99() is not None)
        record = shop.rollout(candidate, guards=COUNTED, evidence=evidence).run()
    assert record.action == "rolled_back" and "empty" in " ".join(record.reasons), record.reasons
    first = next(seen.time for seen in record.seen if seen.interval.candidate.requests)
    log_fault("candidate answers nothing, at 30 % of the traffic, decided by Prometheus",
              f"rolled back after {record.candidate_requests} of its answers", record.moved - first)  # fmt: skip
    assert shop.served() == shop.champion == shop.registry.aliases("handmade")["champion"]
    assert "canary" not in shop.service()["spec"] and shop.champion_pods() == pods and shoppers.failed == {}
