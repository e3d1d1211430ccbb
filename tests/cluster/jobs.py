"""A small TrainJob that no controller runs, and a watch of its labels."""

import contextlib

from components.shared.cluster.kinds import TRAIN_JOB


def job(name="one", nodes=1, **spec):
    """A TrainJob for a controller that is not on the platform, so that only the test changes it."""
    return {
        "apiVersion": TRAIN_JOB.api_version, "kind": TRAIN_JOB.kind,
        "metadata": {"name": name, "labels": {"team": "search"}},
        "spec": {"runtimeRef": {"name": "shoprank-torchrec"}, "managedBy": "kueue.x-k8s.io/multikueue",
                 "trainer": {"numNodes": nodes}, **spec},
    }  # fmt: skip


def labels_seen(cluster, seconds, until):
    with contextlib.closing(cluster.follow(TRAIN_JOB, "one", seconds)) as changes:
        return any(present["metadata"].get("labels", {}).get("step") == until for present in changes)
