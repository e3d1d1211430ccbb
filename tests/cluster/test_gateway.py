"""What clients get through the real gateway is asked for after each change, whatever the route's conditions say."""

import json
import time

import pytest

from components.shared.cluster.gateway import check_served
from components.shared.cluster.kinds import HTTP_ROUTE
from components.shared.cluster.route import Route
from components.shared.errors import ServingError
from tests.cluster.faults import log_fault

pytestmark = [pytest.mark.filterwarnings("ignore:Unverified HTTPS request"), pytest.mark.slow]

GATEWAY_API = "gateway.networking.k8s.io/v1"


def other_route(service):
    """A route of somebody else on the same Gateway: a longer path wins, whatever our route says."""
    return {
        "apiVersion": GATEWAY_API, "kind": "HTTPRoute", "metadata": {"name": "other"},
        "spec": {
            "parentRefs": [{"name": "shoprank"}],
            "rules": [{"matches": [{"path": {"type": "PathPrefix", "value": "/v2"}}],
                       "backendRefs": [{"name": service, "port": 80}]}],
        },
    }  # fmt: skip


def test_a_route_that_takes_the_requests_away_is_named_by_the_next_deployment(shop, registered):
    shop.open()
    before, started = shop.champion, time.monotonic()
    shop.namespace.apply([other_route("service-that-is-gone")], "-n", shop.namespace.name)
    try:
        quick = Route(shop.cluster, shop.spec.name, accepted_s=3)
        while time.monotonic() < started + 10:
            try:
                quick.check(before)
            except ServingError as error:
                assert "gateway shoprank at http://" in error.headline and "answered 500" in error.headline
                break
        else:
            pytest.fail("the gateway never used the other route")
        assert quick.problem() == "", "our own route's conditions are good all the time"
        with pytest.raises(ServingError, match="answered 500"):
            shop.backend.release("handmade", before)
    finally:
        shop.namespace.kubectl("delete", "httproute", "other")
    shop.backend.release("handmade", before)
    assert shop.served() == before
    log_fault("another route takes the gateway's requests", "named by the deployment: answered 500",
              time.monotonic() - started)  # fmt: skip


def test_another_version_behind_the_gateway_is_named(shop):
    shop.open()
    quick = Route(shop.cluster, shop.spec.name, accepted_s=1)
    quick.check(shop.champion)
    with pytest.raises(ServingError, match=f"version {shop.champion} answered, not 20990101-none"):
        quick.check("20990101-none")


def test_gateway_that_cannot_be_reached_from_here_is_no_failure(shop):
    shop.open()
    away = {
        "apiVersion": GATEWAY_API, "kind": "Gateway", "metadata": {"name": "away"},
        "spec": {"gatewayClassName": "of-nobody",
                 "listeners": [{"name": "http", "port": 9, "protocol": "HTTP"}]},
    }  # fmt: skip
    shop.namespace.apply([away], "-n", shop.namespace.name)
    route = shop.cluster.get(HTTP_ROUTE, f"{shop.spec.name}-traffic")
    named = {"spec": {**route["spec"], "parentRefs": [{"name": "away"}]}}
    assert check_served(shop.cluster, named, "shoprank", {"v"}, 5) == "the gateway has no address"
    status = {"status": {"addresses": [{"type": "IPAddress", "value": "127.0.0.1"}]}}
    shop.namespace.kubectl("patch", "gateway", "away", "--subresource=status", "--type=merge", "-p", json.dumps(status))
    said = check_served(shop.cluster, named, "shoprank", {"v"}, 5)
    assert said == "http://127.0.0.1:9 cannot be reached from here"
