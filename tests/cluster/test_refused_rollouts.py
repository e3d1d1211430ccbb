"""Rollouts that the cluster rejects or that fail at promotion: the champion serves, the record holds the reason."""

import contextlib
import json
import threading
import time

import pytest

from components.rollout_model.guards import GuardConfig
from components.shared.errors import ClusterError
from components.shared.tests.waiting import eventually
from tests.cluster.faults import log_fault
from tests.cluster.rollout_shop import Shoppers

pytestmark = [pytest.mark.filterwarnings("ignore:Unverified HTTPS request"), pytest.mark.slow]


@contextlib.contextmanager
def denied(namespace, expression, message):
    """A real ValidatingAdmissionPolicy that denies changes of InferenceServices in one namespace."""
    name = f"{namespace.name}-denied"
    # An annotation shows when the API server has compiled the policy.
    probed = f"({expression}) && !('probe' in object.metadata.?annotations.orValue({{}}))"
    rule = {"apiGroups": ["serving.kserve.io"], "apiVersions": ["*"], "operations": ["UPDATE"],
            "resources": ["inferenceservices"]}  # fmt: skip
    policy = {
        "apiVersion": "admissionregistration.k8s.io/v1", "kind": "ValidatingAdmissionPolicy",
        "metadata": {"name": name},
        "spec": {"matchConstraints": {"resourceRules": [rule]},
                 "validations": [{"expression": probed, "message": message}]},
    }  # fmt: skip
    binding = {
        "apiVersion": "admissionregistration.k8s.io/v1", "kind": "ValidatingAdmissionPolicyBinding",
        "metadata": {"name": name},
        "spec": {"policyName": name, "validationActions": ["Deny"], "matchResources": {
            "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": namespace.name}}}},
    }  # fmt: skip
    both = {"apiVersion": "v1", "kind": "List", "items": [policy, binding]}
    namespace.kubectl("apply", "-f", "-", given=json.dumps(both))
    probe = ("annotate", "isvc", "shoprank", "--dry-run=server", "probe=1")
    try:
        assert eventually(lambda: _refused(namespace, *probe))
        yield
    finally:
        kinds = "validatingadmissionpolicybinding,validatingadmissionpolicy"
        namespace.kubectl("delete", kinds, name, "--ignore-not-found")
        # The API server takes a moment to forget it.
        assert eventually(lambda: not _refused(namespace, *probe), 60)


def _refused(namespace, *words):
    try:
        namespace.kubectl(*words)
    except AssertionError:
        return True
    return False


def test_policy_that_denies_the_canary_leaves_the_champion_serving(shop, registered):
    no_canary = "!has(object.spec.canary) || size(object.spec.canary) == 0"
    with Shoppers(shop.open()) as shoppers, denied(shop.namespace, no_canary, "no canaries here"):
        rollout, started = shop.rollout(registered[2]), time.monotonic()
        record = rollout.run()
    assert record.action == "rolled_back" and record.seen == ()
    assert "the cluster rejected a change: " in record.reasons[0] and "no canaries here" in record.reasons[0]
    log_fault("a policy denies the canary", "never got traffic; rolled back with the policy's words",
              time.monotonic() - started)  # fmt: skip
    assert shop.served() == shop.champion and "canary" not in shop.service()["spec"]
    assert shop.actions()[-2:] == ["rollout_begin", "rolled_back"]
    assert registered[2] not in shoppers.answers and shoppers.failed == {}


def test_denied_rollback_raises_and_is_completed_by_the_next_run(shop, registered):
    candidate = registered[2]
    guards = GuardConfig(min_sample=10_000, max_duration_s=3, min_duration_s=0)
    with Shoppers(shop.open()) as shoppers:
        rollout = shop.rollout(candidate, (20, 60, 100), guards=guards)
        read, policy = rollout.evidence.read, contextlib.ExitStack()

        def denied_from_the_second_look(slow):
            if len(rollout._seen) == 1:
                policy.enter_context(denied(shop.namespace, "false", "nothing changes today"))
            return read(slow)

        rollout.evidence.read = denied_from_the_second_look
        with policy, pytest.raises(ClusterError, match="nothing changes today"):
            rollout.run()
        assert "canary" in shop.service()["spec"] and shop.registry.rollout_state("handmade")
        assert shop.weights() == {"shoprank-predictor": 100}, "the traffic went back before the candidate's removal"
        record = shop.rollout(candidate, (20, 60, 100), guards=guards).run()
    assert record.action == "rolled_back" and "canary" not in shop.service()["spec"] and shoppers.failed == {}


def test_promotion_whose_pods_are_refused_restores_the_champion(shop, registered):
    candidate, pods = registered[2], shop.champion_pods()

    def full():
        """Allow no further pod as soon as the candidate runs: the champion's new pods cannot be made."""
        assert eventually(lambda: shop.traffic().percent() == 100, 90)
        running = len(json.loads(shop.namespace.kubectl("get", "pods", "-o", "json"))["items"])
        quota = {"apiVersion": "v1", "kind": "ResourceQuota", "metadata": {"name": "full"},
                 "spec": {"hard": {"pods": str(running)}}}  # fmt: skip
        shop.namespace.kubectl("apply", "-f", "-", given=json.dumps(quota))

    with Shoppers(shop.open()) as shoppers:
        filling = threading.Thread(target=full)
        filling.start()
        guards = GuardConfig(min_sample=40, min_duration_s=4.0, max_duration_s=60.0, error_tolerance=10.0,
                             slow_tolerance=45.0, empty_tolerance=10.0, negligible=0.3, min_overlap=0.2)  # fmt: skip
        record = shop.rollout(candidate, guards=guards).run()
        filling.join()
        assert record.action == "rolled_back" and record.reasons[0].startswith("promotion: "), record.reasons
        assert "exceeded quota: full" in record.reasons[0]
        time.sleep(3)
    happened = "admission's sentence; the champion written back"
    log_fault("promotion: the quota allows no new pod", happened, record.moved - record.decided)
    assert shop.served() == shop.champion == shop.registry.aliases("handmade")["champion"]
    assert "canary" not in shop.service()["spec"] and shop.traffic().champion() == shop.champion
    assert shop.champion_pods() == pods and shoppers.failed == {}
