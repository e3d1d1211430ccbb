"""What clients get through the real gateway is asked for after each change, whatever the route's conditions say."""

import json
import time

import pytest

from components.shared.cluster.gateway import check_served
from components.shared.cluster.kinds import HTTP_ROUTE
from components.shared.cluster.route import Route
from components.shared.errors import ServingError
from components.shared.tests.waiting import eventually
from tests.cluster.faults import log_fault
from tests.cluster.platform.certificates import Authority

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


NAME = "www.shop.example"


@pytest.fixture
def secure(shop, tmp_path):
    """A Gateway that serves TLS under a name only, and a function that makes a route on it."""
    certificate = Authority(tmp_path / "keys").certificate("web", NAME, hosts=(NAME,))
    kubectl, named = shop.namespace.kubectl, {"apiVersion": GATEWAY_API, "kind": "Gateway"}
    kubectl("create", "secret", "tls", "web", f"--cert={certificate}", f"--key={certificate.with_suffix('.key')}")
    listener = {"name": "https", "port": 443, "protocol": "HTTPS", "hostname": "*.shop.example",
                "tls": {"certificateRefs": [{"name": "web"}]}}  # fmt: skip
    gateway = {**named, "metadata": {"name": "secure"}, "spec": {"gatewayClassName": "eg", "listeners": [listener]}}
    shop.namespace.apply([gateway], "-n", shop.namespace.name)

    def route(name, **rule):
        spec = {"parentRefs": [{"name": "secure"}], "hostnames": [NAME], "rules": [rule]}
        made = {"apiVersion": GATEWAY_API, "kind": "HTTPRoute", "metadata": {"name": name}, "spec": spec}
        shop.namespace.apply([made], "-n", shop.namespace.name)
        return made

    yield route
    kubectl("delete", "gateway", "secure", "--wait=false")


def programmed(shop, gateway):
    """Whether a Gateway's Envoy serves."""
    said = "jsonpath={.status.conditions[?(@.type=='Programmed')].status}"
    return shop.namespace.kubectl("get", "gateway", gateway, "-o", said) == "True"


def test_gateway_that_serves_a_name_over_tls_is_asked_by_that_name(shop, secure):
    served = secure("named", backendRefs=[{"name": "shoprank-predictor", "port": 80}])
    assert eventually(lambda: programmed(shop, "secure"), 90), shop.namespace.kubectl("get", "gateway", "-o", "yaml")
    # A new Envoy takes connections a moment later.
    assert eventually(lambda: check_served(shop.cluster, served, "shoprank", {shop.champion}, 10) == "", 30)
    with pytest.raises(ServingError, match=r"gateway secure at https://.*:443: version .* answered, not another"):
        check_served(shop.cluster, served, "shoprank", {"another"}, 1)
    # As a listener that only sends clients to another address; which answers there cannot be asked from a cluster.
    moved = {"type": "RequestRedirect", "requestRedirect": {"hostname": "shop.example"}}
    secure("moved", matches=[{"path": {"type": "PathPrefix", "value": "/v2"}}], filters=[moved])

    def said():
        return check_served(shop.cluster, served, "shoprank", {shop.champion}, 10)

    assert eventually(lambda: said().endswith("redirects to https://shop.example/v2/models/shoprank"), 30), said()
