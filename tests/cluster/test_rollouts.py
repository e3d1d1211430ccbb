"""Whole rollouts on a real KServe behind a real gateway: real pods, live load, and the real judge."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from components.rollout_model.guards import GuardConfig, Metric
from components.rollout_model.rollout import Stopped
from components.shared.cluster.kinds import AUTOSCALER
from components.shared.tests.waiting import eventually
from tests.cluster.faults import log_fault
from tests.cluster.platform.layout import CHECKOUT
from tests.cluster.rollout_shop import GUARDS, Shoppers, sold_out, version_of
from tests.cluster.shops import signed_by_another

COUNTED = GUARDS.replace(judged=tuple(metric for metric in Metric if metric is not Metric.OVERLAP))
"""Without the overlap guard, which also reacts to empty answers: either of the two might fire first."""
ENDLESS = GuardConfig(min_sample=10_000, max_duration_s=120, min_duration_s=0)

pytestmark = [pytest.mark.filterwarnings("ignore:Unverified HTTPS request"), pytest.mark.slow]


def kill_container(pod):
    """Kill the processes of a pod's container from outside, as the kernel does when memory runs out."""
    found = pod["status"]["containerStatuses"][0]["containerID"].removeprefix("containerd://")
    for process in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            if found in (process / "cgroup").read_text():
                os.kill(int(process.name), signal.SIGKILL)


def test_equal_candidate_is_promoted_step_by_step_without_a_failed_request(shop, registered):
    candidate, pods = registered[2], shop.champion_pods()
    inside = f"http://shoprank-predictor.{shop.namespace.name}.svc.cluster.local"
    with Shoppers(shop.open(), clients=4) as shoppers, Shoppers(inside, clients=4) as insiders:
        rollout = shop.rollout(candidate, (20, 60, 100))
        promote, shift, untouched, weights = rollout.traffic.promote, rollout.traffic.shift, [], []
        rollout.traffic.promote = lambda: (untouched.append(shop.champion_pods() == pods), promote())
        rollout.traffic.shift = lambda percent: (shift(percent), weights.append(shop.weights()))
        record = rollout.run()
        assert record.action == "promoted", record.reasons
        assert eventually(lambda: not shop.namespace.pods("shoprank-candidate-predictor"))
        time.sleep(10)  # The champion's and the candidate's old pods end meanwhile.
    names = ("shoprank-predictor", "shoprank-candidate-predictor")
    assert weights[:2] == [dict(zip(names, pair, strict=True)) for pair in ((80, 20), (40, 60))]
    assert weights[2]["shoprank-candidate-predictor"] == 100
    assert untouched == [True], "pods of the champion changed before the promotion"
    assert shop.served() == candidate == shop.registry.aliases("handmade")["champion"]
    assert shop.weights() == {"shoprank-predictor": 100} and "canary" not in shop.service()["spec"]
    assert shop.service()["spec"]["predictor"]["minReplicas"] == 1, "as before the rollout"
    assert shop.cluster.find(AUTOSCALER, "shoprank-candidate-predictor") is None
    assert shoppers.failed == {} and insiders.failed == {} and shoppers.answers[candidate] > 80
    overlaps = [value for seen in record.seen for value in seen.interval.overlaps]
    assert overlaps and set(overlaps) == {1.0}, "the shadow's copies, never compared with themselves"
    assert shop.actions()[-3:] == ["rollout_begin", "promote", "promoted"]
    log_fault("none: equal candidate, three steps", "promoted; no request failed", record.moved - record.began)


def test_candidate_with_empty_answers_is_rolled_back(shop):
    candidate, pods = version_of(shop.root, sold_out), shop.champion_pods()
    with Shoppers(shop.open()) as shoppers:
        record = shop.rollout(candidate, guards=COUNTED).run()
    assert record.action == "rolled_back" and "empty" in " ".join(record.reasons)
    first = next(seen.time for seen in record.seen if seen.interval.candidate.requests)
    log_fault("candidate answers nothing, at 30 % of the traffic",
              f"rolled back after {record.candidate_requests} of its answers", record.moved - first)  # fmt: skip
    assert shop.served() == shop.champion == shop.registry.aliases("handmade")["champion"]
    assert "canary" not in shop.service()["spec"] and shop.weights() == {"shoprank-predictor": 100}
    assert shoppers.failed == {} and shop.champion_pods() == pods
    entry = shop.registry.audit("handmade").entries()[-1]
    assert (entry["action"], entry["version"], entry["reasons"]) == ("rolled_back", candidate, list(record.reasons))


def test_candidate_that_crashes_under_traffic_is_rolled_back(shop, registered):
    candidate, over = registered[2], threading.Event()

    def kill(shoppers):
        eventually(lambda: shoppers.answers[candidate] > 5)
        while not over.wait(0.2):
            for pod in shop.namespace.pods("shoprank-candidate-predictor"):
                kill_container(pod)

    with Shoppers(shop.open()) as shoppers:
        killer = threading.Thread(target=kill, args=(shoppers,))
        killer.start()
        try:
            record = shop.rollout(candidate, (50, 100), guards=ENDLESS).run()
        finally:
            over.set()
            killer.join()
        quiet = dict(shoppers.failed)
        time.sleep(2)
        assert shoppers.failed == quiet, "requests fail after the rollback"
    log_fault("candidate's container killed again and again at 50 %", "pods not ready at 3 looks: rolled back",
              record.moved - record.seen[-3].time)  # fmt: skip
    assert record.action == "rolled_back" and "pods were not ready" in record.reasons[0]


def test_candidate_that_ends_at_its_start_gets_no_traffic(shop, registered):
    candidate, pods = signed_by_another(shop.root, registered[2]), shop.champion_pods()
    with Shoppers(shop.open()) as shoppers:
        started = time.monotonic()
        record = shop.rollout(candidate).run()
        seconds = time.monotonic() - started
    log_fault("candidate's bundle is signed by another key", "its own words in the reasons; never got traffic", seconds)
    assert record.action == "rolled_back" and record.reasons[0].startswith("dark launch: "), record.reasons
    assert "another key" in record.reasons[0] and record.seen == () and candidate not in shoppers.answers
    assert seconds < 45 and shop.champion_pods() == pods and shoppers.failed == {}


def test_rollout_without_traffic_is_rolled_back(shop, registered):
    with Shoppers(shop.open()) as shoppers:
        assert eventually(lambda: shoppers.answers[shop.champion] > 5)
    guards = GuardConfig(min_sample=10, min_duration_s=0, max_duration_s=2)
    record = shop.rollout(registered[2], guards=guards).run()
    assert record.action == "rolled_back" and record.candidate_requests == 0 and shop.served() == shop.champion


def test_deciding_process_killed_at_every_step_is_resumed(shop, registered, tmp_path):
    candidate, seen = registered[2], []
    champion_address = shop.namespace.kubectl(
        "get", "service", "shoprank-predictor", "-o", "jsonpath={.spec.clusterIP}"
    )
    told = {
        "service": "shoprank", "namespace": shop.namespace.name, "registry": str(shop.root), "steps": [20, 60, 100],
        "log": str(shop.namespace.folder / "inference-log"), "champion": shop.champion, "candidate": candidate,
        "champion_url": f"http://{champion_address}", "candidate_url": "",
    }  # fmt: skip

    def candidate_address():
        return shop.namespace.kubectl(
            "get", "service", "shoprank-candidate-predictor", "--ignore-not-found", "-o", "jsonpath={.spec.clusterIP}"
        )

    def decide():
        told["candidate_url"] = f"http://{candidate_address() or '127.0.0.1:1'}"
        (tmp_path / "told.json").write_text(json.dumps(told))
        environment = {**os.environ, "KUBECONFIG": str(shop.namespace.platform.kubeconfig)}
        return subprocess.Popen(
            [sys.executable, "-m", "tests.cluster.deciding", tmp_path / "told.json"], cwd=CHECKOUT, env=environment,
            stdout=subprocess.PIPE, text=True,
        )  # fmt: skip

    stages = (
        ("dark launch", candidate_address),
        ("20 %", lambda: shop.traffic().percent() == 20),
        ("60 %", lambda: shop.traffic().percent() == 60),
        ("promotion", lambda: shop.served() == candidate),
    )
    shop.namespace.share()
    with Shoppers(shop.open()) as shoppers:
        for stage, reached in stages:
            with decide() as process:
                assert eventually(reached, seconds=90), f"{stage} was not reached"
                process.kill()
            seen.append(stage)
        with decide() as process:
            assert process.stdout is not None
            assert process.stdout.read().splitlines()[-1] == "promoted"
    assert seen == [stage for stage, _ in stages] and shop.served() == candidate
    assert shop.registry.aliases("handmade")["champion"] == candidate and shop.weights() == {"shoprank-predictor": 100}
    assert shoppers.failed == {} and "canary" not in shop.service()["spec"]
    assert shop.actions().count("rollout_begin") == 1
    log_fault(
        "deciding process killed in dark launch, at 20 %, at 60 % and in promotion", "each time resumed; promoted", 0
    )


def test_rollout_stopped_by_sigterm_returns_the_traffic_to_the_champion(shop, registered):
    candidate = registered[2]
    with Shoppers(shop.open()) as shoppers:
        rollout = shop.rollout(candidate, guards=ENDLESS)
        stop = threading.Thread(target=lambda: (
            eventually(lambda: shoppers.answers[candidate] > 3), os.kill(os.getpid(), signal.SIGTERM)
        ))  # fmt: skip
        stop.start()
        with pytest.raises(Stopped):
            rollout.run()
        stop.join()
    stopped = shop.registry.audit("handmade").entries()[-1]
    log_fault("rollout process stopped by SIGTERM", "all traffic back to the champion, the candidate removed",
              stopped["seconds_to_move"])  # fmt: skip
    assert "canary" not in shop.service()["spec"] and shop.served() == shop.champion and shoppers.failed == {}
    assert shop.actions()[-1] == "rolled_back" and signal.getsignal(signal.SIGTERM) is signal.SIG_DFL


def test_direct_deploy_after_a_rollout_that_broke_off_at_100_percent(shop, registered):
    candidate = registered[2]
    third = version_of(shop.root, lambda folder: (folder / "licences.json").write_text('{"third": true}\n'))
    shop.namespace.share()
    with Shoppers(shop.open()) as shoppers:
        traffic = shop.traffic()
        traffic.launch(candidate)
        traffic.shift(100)
        assert eventually(lambda: shoppers.answers[candidate] > 5)
        shop.deploy(third)
        assert eventually(lambda: shoppers.answers[third] > 50)
    assert shoppers.failed == {} and shop.weights() == {"shoprank-predictor": 100}
    assert shop.traffic().candidate() == "" and shop.traffic().champion() == third
