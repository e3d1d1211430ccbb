"""Needs of a deployment: its namespace, runtime, key, rights, and of KServe and the Gateway."""

from collections.abc import Iterator

from components.shared import images
from components.shared.cluster.api import Manifest
from components.shared.cluster.kinds import GATEWAY, HTTP_ROUTE, INFERENCE_SERVICE, Kind
from components.shared.errors import ClusterError, MissingObject
from pipelines.doctor import rights
from pipelines.doctor.claims import claim, shared_volume
from pipelines.doctor.needs import Need, Plan, Unmet, exists
from pipelines.doctor.reading import Reader, condition_problem, is_selected, specification
from pipelines.doctor.steps import granted, images_pulled, install_command, login, pod_security, pull_secret

RUNTIME = Kind("serving.kserve.io", "v1alpha1", "servingruntimes", "ServingRuntime", "KServe 0.20")
INITIALIZER = Kind(
    "serving.kserve.io", "v1alpha1", "clusterstoragecontainers", "ClusterStorageContainer", "KServe 0.20",
    namespaced=False,
)  # fmt: skip
GATEWAY_CLASS = Kind(
    "gateway.networking.k8s.io", "v1", "gatewayclasses", "GatewayClass", "the Gateway API's CRDs", namespaced=False
)
POLICY = Kind("networking.k8s.io", "v1", "networkpolicies", "NetworkPolicy", "Kubernetes 1.30")
ACCOUNT = "shoprank-predictor"
PREDICTOR = {"component": "predictor", "app.kubernetes.io/part-of": "shoprank"}
"""Labels of predictor pods."""


def needs(reader: Reader, plan: Plan) -> Iterator[Need]:
    """What a deployment needs."""
    place, install = plan.serving_namespace, install_command(plan)
    if place != plan.namespace:
        yield Need(
            name="namespace", namespace=place, read=lambda: reader.namespace(place), judge=pod_security,
            fix=f"kubectl create namespace {place}",
        )  # fmt: skip
        if not plan.object_store:
            yield claim(reader, place, install)
            yield shared_volume(reader, plan.namespace, place)
        yield from pull_secret(reader, place)
        yield images_pulled(reader, place)
    yield Need(
        name="rights of the steps to deploy", namespace=place, judge=granted, fix=install,
        read=lambda: reader.denied(plan, place, rights.SERVING),
    )  # fmt: skip
    yield Need(name=f"service account {ACCOUNT}", namespace=place, judge=exists, fix=install,
               read=lambda: reader.core(place, "serviceaccounts", ACCOUNT))  # fmt: skip
    yield Need(
        name="ServingRuntime shoprank", namespace=place, judge=lambda found: _runtime(found, install),
        fix=install,
        read=lambda: reader.within(place).get(RUNTIME, "shoprank"),
    )  # fmt: skip
    only_for = "" if plan.object_store else "release.storage=s3://..."
    yield login(reader, place, only_for)
    yield Need(
        name="KServe's storage initializer", namespace="", judge=_initializer, only_for=only_for,
        read=lambda: reader.within(place).get(INITIALIZER, "default"),
        fix="kubectl apply --server-side --force-conflicts -k manifests/storage-initializer",
    )  # fmt: skip
    yield _network(reader, plan, install)
    yield Need(name="CRD inferenceservices", namespace="", read=lambda: reader.definition(INFERENCE_SERVICE),
               judge=_kserve, fix="install KServe 0.20")  # fmt: skip
    yield from _gateway(reader, plan)


def _runtime(found: Manifest, install: str) -> str:
    container = found["spec"]["containers"][0]
    if container["image"] != images.PREDICTOR_IMAGE:
        raise Unmet(
            f"runs {container['image']}, not {images.PREDICTOR_IMAGE}",
            "set SHOPRANK_IMAGE_* to your images, then write them into the manifests and apply these:\n"
            f"shoprank compile\n{install}",
        )
    return f"runs {container['image']}"


def _initializer(found: Manifest) -> str:
    if not found["spec"]["container"].get("securityContext", {}).get("runAsNonRoot"):
        raise Unmet("has no security context: a restricted namespace refuses its pods")
    return "passes Pod Security restricted"


def _kserve(found: Manifest) -> str:
    if "canary" not in specification(found, INFERENCE_SERVICE):
        raise Unmet("InferenceServices have no spec.canary: KServe is older than 0.20")
    return f"{INFERENCE_SERVICE.version} with spec.canary, as of KServe 0.20"


def _network(reader: Reader, plan: Plan, install: str) -> Need:
    """Whether the predictors' NetworkPolicy lets the steps ask; none at all lets everybody."""

    def read() -> tuple[list[Manifest], Manifest]:
        policies = reader.within(plan.serving_namespace).list(POLICY)
        return policies, reader.namespace(plan.namespace)["metadata"].get("labels", {})

    def judge(found: tuple[list[Manifest], Manifest]) -> str:
        policies, labels = found
        ours = [one["spec"] for one in policies if is_selected(one["spec"]["podSelector"], PREDICTOR)]
        peers = [peer for spec in ours for rule in spec.get("ingress", []) for peer in rule.get("from", [])]
        if ours and not any(
            "namespaceSelector" in one and is_selected(one["namespaceSelector"], labels) for one in peers
        ):
            raise Unmet(f"no NetworkPolicy of predictors admits namespace {plan.namespace}")
        return f"namespace {plan.namespace} is admitted" if ours else "no NetworkPolicy selects predictors"

    return Need(name="steps reach predictors", namespace=plan.serving_namespace, read=read, judge=judge, fix=install,
                depends=(plan.serving_namespace, plan.namespace))  # fmt: skip


def _gateway(reader: Reader, plan: Plan) -> Iterator[Need]:
    place, name = plan.serving_namespace, plan.gateway

    def version(found: Manifest) -> str:
        specification(found, HTTP_ROUTE)
        bundle = found["metadata"].get("annotations", {}).get("gateway.networking.k8s.io/bundle-version", "")
        return f"{HTTP_ROUTE.version}{f' of Gateway API {bundle}' if bundle else ''}"

    def programmed(found: Manifest) -> str:
        problem = condition_problem(found.get("status", {}), "Accepted", "Programmed")
        if problem:
            raise _without_class(reader, found, problem)
        addresses = [one["value"] for one in found["status"].get("addresses", [])]
        return f"Accepted and Programmed, at {', '.join(addresses) or 'no address'}"

    def any_programmed(found: list[Manifest]) -> str:
        ready = [one["metadata"]["name"] for one in found
                 if not condition_problem(one.get("status", {}), "Accepted", "Programmed")]  # fmt: skip
        if not ready:
            raise _without_class(reader, found[0], "no Gateway is Programmed") if found else Unmet("none is there")
        return f"Programmed: {', '.join(ready)}"

    only_for = "" if name else "strategy=guarded in Standard mode"
    yield Need(name="CRD httproutes", namespace="", read=lambda: reader.definition(HTTP_ROUTE), judge=version,
               fix="install the Gateway API v1 and a controller such as Envoy Gateway", only_for=only_for)  # fmt: skip
    part = "manifests/components/gateway"
    fix = (
        "make that of the manifests, which is called shoprank and has class eg, and name it (--gateway shoprank):\n"
        f"kubectl -n {place} apply -f {part}/gateway.yaml -f {part}/network-policy.yaml"
    )
    cluster = reader.within(place)
    if name:
        yield Need(name=f"Gateway {name}", namespace=place, read=lambda: cluster.get(GATEWAY, name), judge=programmed,
                   fix=fix)  # fmt: skip
    else:
        yield Need(name="a Gateway", namespace=place, read=lambda: cluster.list(GATEWAY), judge=any_programmed,
                   fix=fix, only_for=only_for, depends=(place,))  # fmt: skip


def _without_class(reader: Reader, gateway: Manifest, problem: str) -> Unmet:
    """Why a Gateway is not ready; without its class no controller looks at it."""
    name = gateway["spec"]["gatewayClassName"]
    try:
        reader.within("default").get(GATEWAY_CLASS, name)
    except MissingObject:
        return Unmet(
            f"{problem}; its GatewayClass {name} does not exist",
            f"create GatewayClass {name} as your Gateway controller's manual says; for Envoy Gateway and class eg:\n"
            "kubectl apply -f manifests/overlays/kind/gateway-class.yaml",
        )
    except ClusterError:
        pass
    return Unmet(problem, f"look at the controller of its class:\nkubectl describe gatewayclass {name}")
