"""The traffic split of a service, by its deployment mode."""

from components.shared.cluster.api import Cluster
from components.shared.cluster.inference_service import check_mode
from components.shared.cluster.kinds import INFERENCE_SERVICE
from components.shared.cluster.knative import KnativeTraffic
from components.shared.cluster.standard import StandardTraffic
from components.shared.cluster.traffic import Placement, Traffic


def traffic_of(cluster: Cluster, placement: Placement) -> Traffic:
    """Return the Traffic implementation for the service's mode.

    Raises:
        MissingObject: the InferenceService does not exist.
        InputError: the service is in another mode, or serves another model.
    """
    check_mode(cluster.get(INFERENCE_SERVICE, placement.service.name), placement.service)
    kind = StandardTraffic if placement.service.mode == "Standard" else KnativeTraffic
    return kind(cluster, placement)
