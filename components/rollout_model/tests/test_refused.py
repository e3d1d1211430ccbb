"""Rollouts that the cluster rejects or that fail at promotion: the champion serves, the record holds the reason."""

import dataclasses
import re
import threading
import time

import pytest

from components.rollout_model.guards import GuardConfig
from components.shared.errors import ClusterError
from components.shared.tests.waiting import eventually
from tests.cluster.faults import log_fault
from tests.cluster.refusals import DENIED, in_front_of
from tests.cluster.rollout_shop import GUARDS, Shop

pytestmark = [pytest.mark.filterwarnings("ignore:Unverified HTTPS request"), pytest.mark.slow]


def test_webhook_that_denies_the_canary_leaves_the_champion_serving(registry_copy, api_server):
    root, candidate = registry_copy
    with in_front_of(api_server) as (cluster, front), Shop(root, cluster) as shop:
        front.refusals = {"PATCH": dataclasses.replace(DENIED, times=1)}
        rollout, started = shop.rollout(candidate), time.monotonic()
        record = rollout.run()
        assert record.action == "rolled_back" and record.seen == ()
        assert "the cluster rejected a change: " in record.reasons[0] and "denied the request" in record.reasons[0]
        log_fault("a webhook denies the canary", "never got traffic; rolled back with the webhook's words",
             time.monotonic() - started)  # fmt: skip
        assert shop.served() == shop.champion and "canary" not in shop.service()["spec"]
    assert shop.actions()[-2:] == ["rollout_begin", "rolled_back"] and candidate not in shop.answers


def test_denied_rollback_raises_and_is_completed_by_the_next_run(registry_copy, api_server):
    root, candidate = registry_copy
    guards = GuardConfig(min_sample=10_000, max_duration_s=60, min_duration_s=0)
    with in_front_of(api_server) as (cluster, front), Shop(root, cluster) as shop:
        rollout = shop.rollout(candidate, (20, 60, 100), guards=guards)
        read, looks = rollout.evidence.read, []

        def denied_from_the_second_look(slow):
            looks.append(1)
            if len(looks) == 2:
                shop.kserve.fails_to_load.add(candidate)
                shop.kserve.pod("candidate").process.kill()
                front.refusals = {"PATCH": dataclasses.replace(DENIED, times=20)}
            return read(slow)

        rollout.evidence.read = denied_from_the_second_look
        with pytest.raises(ClusterError, match="denied the request"):
            rollout.run()
        assert "canary" in shop.service()["spec"] and shop.registry.open_rollout("handmade").exists()
        front.refusals = {}
        record = shop.rollout(candidate, (20, 60, 100), guards=guards).run()
        assert record.action == "rolled_back"
        assert "canary" not in shop.service()["spec"]


@pytest.mark.parametrize("mode", ["Standard", "Knative"])
def test_promotion_that_does_not_get_ready_restores_the_champion(registry_copy, cluster, mode):
    root, candidate = registry_copy
    with Shop(root, cluster, mode) as shop:
        shop.kserve.never_ready.add(f"stable:{candidate}")
        rollout = shop.rollout(candidate, guards=GUARDS)
        launch, abort, patient = rollout.traffic.launch, rollout.traffic.abort, rollout.traffic._placement

        def launched(version):
            launch(version)
            rollout.traffic._placement = dataclasses.replace(patient, ready_s=6)

        def aborted():
            rollout.traffic._placement = patient  # A champion on a busy machine may take longer to come back.
            abort()

        rollout.traffic.launch, rollout.traffic.abort = launched, aborted
        back = threading.Thread(target=lambda: eventually(lambda: shop.served() == candidate, 60))
        back.start()
        record = rollout.run()
        back.join()
        assert record.action == "rolled_back" and record.reasons[0].startswith("promotion: ")
        assert re.search(r"was not ready within \d+ s: Ready is False", record.reasons[0]), record.reasons
        log_fault(f"promoted version never Ready ({mode})", "after the 6 s it was given, the champion written back",
             record.moved - record.decided - 6)  # fmt: skip
        assert shop.served() == shop.champion == shop.registry.aliases("handmade")["champion"]
        present = shop.service()
        assert "canary" not in present["spec"] and "canaryTrafficPercent" not in present["spec"]["predictor"]
        assert present["metadata"]["annotations"]["shoprank.example/version"] == shop.champion
        assert eventually(lambda: shop.kserve.percent == 0)
