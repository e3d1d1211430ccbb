"""What the steps do in the Kubernetes API; the roles of manifests/components give exactly this (see tests/cluster)."""

from dataclasses import dataclass

from components.shared.cluster.kinds import (
    AUTOSCALER,
    DEPLOYMENT,
    GATEWAY,
    HTTP_ROUTE,
    INFERENCE_SERVICE,
    JOB,
    LEASE,
    POD,
    TRAIN_JOB,
    Kind,
)

_ALL = ("create", "get", "list", "watch", "patch", "delete")


@dataclass(frozen=True)
class Right:
    """One verb on one resource.

    Attributes:
        group: API group. resource: plural, with a subresource after a slash. verb: of the API.
    """

    group: str
    resource: str
    verb: str

    def attributes(self) -> dict[str, str]:
        """As in `resourceAttributes` of an access review."""
        resource, _, sub = self.resource.partition("/")
        return {"group": self.group, "resource": resource, "subresource": sub, "verb": self.verb}


def _rights(kind: Kind, *verbs: str, sub: str = "") -> tuple[Right, ...]:
    return tuple(Right(kind.group, kind.plural + sub, verb) for verb in verbs)


_PODS = (*_rights(POD, "list"), Right("", "events", "list"))

TRAINING = (
    *_rights(TRAIN_JOB, *_ALL), *_rights(JOB, "create", "get", "list", "delete"), *_rights(POD, "get"), *_PODS,
    *_rights(POD, "get", sub="/log"),
)  # fmt: skip
"""Where steps run: a TrainJob, or the Job that decides a rollout."""

SERVING = (
    *_rights(INFERENCE_SERVICE, *_ALL), *_rights(HTTP_ROUTE, "create", "get", "list", "patch"),
    *_rights(GATEWAY, "get", "list"), *_rights(LEASE, "create", "get", "list", "patch"),
    *_rights(DEPLOYMENT, "get"), *_rights(AUTOSCALER, "delete"), *_PODS,
)  # fmt: skip
"""Where steps deploy."""
