"""Errors of a full API server that the test server lacks: quotas, webhooks, watches cut within an event."""

import threading

import pytest

from components.shared.cluster.api import RetryPolicy
from components.shared.cluster.kinds import TRAIN_JOB
from components.shared.errors import ClusterError
from tests.cluster.jobs import job, labels_seen
from tests.cluster.refusals import DENIED, QUOTA, in_front_of, webhook_away

pytestmark = pytest.mark.filterwarnings("ignore:Unverified HTTPS request")


def test_errors_of_a_quota_and_a_webhook_are_reported(api_server):
    with in_front_of(api_server) as (cluster, front):
        front.refusals = {"POST": QUOTA}
        with pytest.raises(ClusterError, match=r"create TrainJob one: 403 .*exceeded quota: shoprank") as refused:
            cluster.create(TRAIN_JOB, job())
        assert "or the namespace the quota" in refused.value.fix
        assert cluster.find(TRAIN_JOB, "one") is None
        front.refusals = {"POST": DENIED}
        with pytest.raises(ClusterError, match=r'create TrainJob one: 400 admission webhook ".*" denied the request'):
            cluster.create(TRAIN_JOB, job())


def test_unavailable_webhook_is_retried_until_the_limit(api_server):
    with in_front_of(api_server, RetryPolicy(statuses=4)) as (cluster, front):
        front.refusals = {"POST": webhook_away(times=4)}
        cluster.create(TRAIN_JOB, job())
        assert cluster.find(TRAIN_JOB, "one")
        front.refusals = {"PATCH": webhook_away(times=5)}
        with pytest.raises(ClusterError, match=r"500 .*failed calling webhook"):
            cluster.patch(TRAIN_JOB, "one", {"spec": {"suspend": True}})
        assert cluster.get(TRAIN_JOB, "one")["spec"]["suspend"] is False


def test_watch_cut_within_an_event_loses_no_change(api_server):
    with in_front_of(api_server) as (cluster, front):
        cluster.create(TRAIN_JOB, job())
        front.cut_watches = True
        changes = iter(range(1, 6))

        def change():
            for at in changes:
                cluster.patch(TRAIN_JOB, "one", {"metadata": {"labels": {"step": str(at)}}})
                if over.wait(0.4):
                    return

        over, writer = threading.Event(), threading.Thread(target=change)
        writer.start()
        try:
            assert labels_seen(cluster, 30, "5")
        finally:
            over.set()
            writer.join()
        assert front.cut >= 1
