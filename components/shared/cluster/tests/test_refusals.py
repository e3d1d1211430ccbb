"""Admission of a real API server (quotas, webhooks that are away), and watches cut within an event."""

import threading

import pytest

from components.shared.cluster.api import RetryPolicy
from components.shared.cluster.kinds import TRAIN_JOB
from components.shared.errors import ClusterError
from components.shared.tests.waiting import eventually
from tests.cluster.admission import used_up_quota, webhook_without_server
from tests.cluster.cut_watches import in_front_of
from tests.cluster.faults import log_fault
from tests.cluster.jobs import job, labels_seen


def test_error_of_a_quota_is_reported(cluster):
    used_up_quota(cluster, TRAIN_JOB)
    with pytest.raises(ClusterError, match=r"create TrainJob one: 403 .*exceeded quota: shoprank") as refused:
        cluster.create(TRAIN_JOB, job())
    assert "or the namespace the quota" in refused.value.fix
    assert cluster.find(TRAIN_JOB, "one") is None


def test_unavailable_webhook_is_retried_until_the_limit(api_server):
    hasty, patient = api_server.connect(RetryPolicy(statuses=3)), api_server.connect(RetryPolicy(statuses=12))
    patient.namespace = hasty.namespace
    hasty.create(TRAIN_JOB, job())
    with webhook_without_server(hasty, TRAIN_JOB):
        refused = eventually(lambda: _refusal(hasty))
        assert refused and refused.fix == "check the log of the API server and of any webhook named above"
        writer = threading.Thread(target=patient.create, args=(TRAIN_JOB, job("two")))
        writer.start()
        threading.Event().wait(2)
        assert writer.is_alive() and patient.find(TRAIN_JOB, "two") is None
    writer.join()
    assert patient.find(TRAIN_JOB, "two")
    log_fault("webhook away for 2 s", "the write waited and went on", 2)


def _refusal(cluster) -> ClusterError | None:
    """The error of a write; the server learns of a new webhook within a second."""
    try:
        cluster.patch(TRAIN_JOB, "one", {"metadata": {"annotations": {"at": "now"}}})
    except ClusterError as error:
        assert "500 Internal error occurred: failed calling webhook" in error.headline
        return error
    return None


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
