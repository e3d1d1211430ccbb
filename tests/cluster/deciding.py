"""Runs one rollout in a process of its own, so that a test can kill it: `python -m tests.cluster.deciding FILE`."""

import json
import os
import sys
from pathlib import Path

from components.rollout_model.evidence import LogEvidence, Versions
from components.rollout_model.rollout import Rollout, RolloutPlan
from components.shared.cluster.api import connect
from components.shared.cluster.inference_service import ServiceSpec
from components.shared.cluster.lease import RolloutLease
from components.shared.cluster.modes import traffic_of
from components.shared.cluster.traffic import Placement
from components.shared.release.registry import Registry
from tests.cluster.rollout_shop import GUARDS


def main(path: str) -> None:
    """Run the rollout that the file describes; an existing one is resumed."""
    told = json.loads(Path(path).read_text())
    spec = ServiceSpec(name=told["service"], model="handmade", min_replicas=1, max_replicas=2)
    addresses = {name: told[name] for name in ("champion_url", "candidate_url")}
    placement = Placement(service=spec, gateway="shoprank", ready_s=90, **addresses)
    cluster = connect(namespace=told["namespace"])
    traffic = traffic_of(cluster, placement)
    log = LogEvidence(Path(told["log"]), Versions(told["champion"], told["candidate"]))
    plan = RolloutPlan(steps=tuple(told["steps"]), guards=GUARDS, poll_s=0.5, model=spec.name)
    record = Rollout(
        Registry(Path(told["registry"])),
        "handmade",
        told["candidate"],
        plan,
        traffic,
        log,
        RolloutLease(cluster, spec, 10),
    ).run()
    print(record.action, flush=True)
    os._exit(0)


if __name__ == "__main__":
    main(sys.argv[1])
