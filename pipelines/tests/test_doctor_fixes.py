"""Every fix of `shoprank doctor`: commands stand alone on their lines and can be pasted into a shell."""

import re
import shlex

import pytest

from pipelines.doctor.diagnosis import diagnose
from pipelines.doctor.needs import Plan, is_command
from pipelines.tests.kube_api import CORE, kube_server, kubeconfig

REGISTRY, KEY = "shoprank-registry", "shoprank-signing-key"
OTHER_KEY = "-----BEGIN PUBLIC KEY-----\nMCowBQYDK2VwAyEA\n-----END PUBLIC KEY-----\n"
GATEWAYS = "/apis/gateway.networking.k8s.io/v1/namespaces/shop/gateways"
SPACES = {f"{CORE}/{name}": {"metadata": {"name": name}} for name in ("team-a", "shop")}


def space(place, kind, name, **content):
    return {f"{CORE}/{place}/{kind}/{name}": {"metadata": {"name": name}, **content}}


def claim(place, phase="Bound", **spec):
    return space(place, "persistentvolumeclaims", REGISTRY, spec={"accessModes": ["ReadWriteMany"], **spec},
                 status={"phase": phase})  # fmt: skip


def volume(name, **source):
    return {f"/api/v1/persistentvolumes/{name}": {"spec": {"capacity": {"storage": "1Gi"}, **source}}}


@pytest.fixture
def find(tmp_path, monkeypatch):
    """A function that diagnoses a cluster with these objects; returns {(need, namespace): finding}."""

    def run(*objects, **plan):
        plan = {"namespace": "team-a", "serving_namespace": "shop"} | plan
        with kube_server(objects={path: one for part in (SPACES, *objects) for path, one in part.items()}) as api:
            monkeypatch.setenv("KUBECONFIG", str(kubeconfig(tmp_path / "config", api.host)))
            return {(one.need, one.namespace): one for one in diagnose(Plan(**plan))}

    return run


BROKEN = (
    claim("team-a", "Pending"), claim("shop", "Pending", storageClassName="slow"),
    space("team-a", "secrets", KEY, data={"signing.pem.pub": ""}),
    space("shop", "configmaps", KEY, data={"signing.pem.pub": OTHER_KEY[:5]}),
    space("shop", "secrets", "shoprank-object-store", data={"AWS_ACCESS_KEY_ID": "eA=="}),
    {f"{GATEWAYS}/shoprank": {"metadata": {"name": "shoprank"}, "spec": {"gatewayClassName": "eg"}}},
    {f"{CORE}/{place}/pods": {"items": []} for place in ("team-a", "shop")},
)  # fmt: skip


@pytest.mark.parametrize("objects", [(), BROKEN], ids=["missing", "broken"])
@pytest.mark.parametrize(
    "plan",
    [{}, {"object_store": True, "gateway": "shoprank", "guarded": True, "train_jobs": True},
     {"serving_namespace": "team-a", "gateway": "g"}, {"namespace": "nowhere", "serving_namespace": "nobody"}],
    ids=["plain", "everything", "one namespace", "no namespace"],
)  # fmt: skip
def test_every_command_of_a_fix_can_be_pasted(find, objects, plan, monkeypatch):
    monkeypatch.setattr("components.shared.images.PULL_SECRET", "pull")
    found = [one for one in find(*objects, **plan).values() if one.state != "ok"]
    assert len(found) > 10 and all(one.fix for one in found)
    for line in {line for one in found for line in one.fix.split("\n")}:
        if is_command(line):
            check_command(line)
        else:
            assert "`" not in line and not re.search(r"kubectl |shoprank (install|keys|compile)\b", line), line
    for fix in {one.fix for one in found}:
        before = [line for line, after in zip(fix.split("\n"), fix.split("\n")[1:], strict=False)
                  if is_command(after) and not is_command(line)]  # fmt: skip
        assert all(line.endswith(":") for line in before), fix


def check_command(line):
    """No prose, no ellipsis, no backtick: options, paths, names, quoted JSON, and UPPERCASE placeholders."""
    words = shlex.split(line)
    assert words[0] in ("kubectl", "shoprank") and "..." not in line and "`" not in line and "\n" not in line, line
    bare = re.sub(r"'[^']*'", "QUOTED", line)
    assert re.fullmatch(r"[A-Za-z0-9_/.=:>| -]+", bare) and not line.endswith((".", ",", ";", ":")), line
    assert not {"or", "and", "with", "then", "the", "to", "of"} & set(words), line


def test_a_pending_claim_is_given_a_class(find):
    found = find(*BROKEN)["claim shoprank-registry", "team-a"]
    assert found.state == "missing" and found.found.startswith("Pending")
    assert found.fix.endswith("""--type=merge -p '{"spec":{"storageClassName":"STORAGE_CLASS"}}'""")
    assert "describe persistentvolumeclaim" in find(*BROKEN)["claim shoprank-registry", "shop"].fix


def test_the_claim_of_the_predictors_is_looked_at(find):
    found = find(claim("team-a", volumeName="a"), volume("a", nfs={"server": "s", "path": "/a"}))
    assert found["claim shoprank-registry", "shop"].state == "missing"
    assert found["one registry for both claims", "shop"].state == "unknown"
    assert ("claim shoprank-registry", "shop") not in find(object_store=True)
    assert ("one registry for both claims", "shop") not in find(object_store=True)
    assert not [need for need, _ in find(serving_namespace="team-a") if need.startswith("one registry")]


ATTRIBUTES = {"server": "s", "share": "/a"}


@pytest.mark.parametrize(
    ("first", "second", "same"),
    [
        ({"nfs": {"server": "s", "path": "/a"}}, {"nfs": {"server": "s", "path": "/a"}}, True),
        ({"nfs": {"server": "s", "path": "/a"}}, {"nfs": {"server": "s", "path": "/b"}}, False),
        ({"csi": {"driver": "n", "volumeHandle": "1", "volumeAttributes": ATTRIBUTES}},
         {"csi": {"driver": "n", "volumeHandle": "2", "volumeAttributes": ATTRIBUTES}}, True),
        ({"csi": {"driver": "n", "volumeHandle": "1"}}, {"csi": {"driver": "n", "volumeHandle": "2"}}, False),
        ({"csi": {"driver": "n", "volumeHandle": "1", "volumeAttributes": ATTRIBUTES}},
         {"csi": {"driver": "n", "volumeHandle": "2", "volumeAttributes": ATTRIBUTES | {"share": "/b"}}}, False),
    ],
)  # fmt: skip
def test_two_volumes_may_be_one_storage(find, first, second, same):
    found = find(claim("team-a", volumeName="a"), claim("shop", volumeName="b"), volume("a", **first),
                 volume("b", **second, storageClassName=""))["one registry for both claims", "shop"]  # fmt: skip
    assert found.state == ("ok" if same else "missing")
    assert same or "volume b is other storage than a of team-a" in found.found


def test_kfp_is_looked_for_in_both_namespaces(find):
    need = "Kubeflow Pipelines (service ml-pipeline)"
    assert find()[need, "kubeflow"].state == "absent" and "--kfp-namespace" in find()[need, "kubeflow"].fix
    for place in ("team-a", "kubeflow"):
        found = find(space(place, "services", "ml-pipeline"))[need, "kubeflow"]
        assert (found.state, found.found) == ("ok", f"in {place}")


def test_keys_are_made_of_what_is_there(find):
    found = find(*BROKEN)
    private, public = found[f"Secret {KEY}", "team-a"].fix, found[f"ConfigMap {KEY}", "shop"].fix
    assert private.index("-o yaml > FILE") < private.index("delete secret")
    assert private.endswith("shoprank keys create --namespace team-a --serving-namespace shop --apply")
    assert "kubectl -n shop delete configmap shoprank-signing-key\n" in private
    assert "kubectl -n team-a get secret shoprank-signing-key -o 'jsonpath={.data.signing\\.pem\\.pub}'" in public
    create = "shoprank keys create --namespace team-a --serving-namespace shop --apply"
    found = find()
    assert {found[need].fix for need in found if KEY in need[0]} == {create}
    left = find(space("shop", "configmaps", KEY, data={"signing.pem.pub": OTHER_KEY}))[f"Secret {KEY}", "team-a"]
    assert left.found == "not found" and "--key FILE" in left.fix
    assert left.fix.endswith(f"\nkubectl -n shop delete configmap {KEY}\n{create}")


def test_a_gateway_without_its_class_names_the_file(find):
    found = find(*BROKEN, gateway="shoprank")["Gateway shoprank", "shop"]
    assert "its GatewayClass eg does not exist" in found.found
    assert found.fix.endswith("\nkubectl apply -f manifests/overlays/kind/gateway-class.yaml")
    made = {"/apis/gateway.networking.k8s.io/v1/gatewayclasses/eg": {"metadata": {"name": "eg"}}}
    assert "gatewayclass eg" in find(*BROKEN, made, gateway="shoprank")["Gateway shoprank", "shop"].fix


def test_a_service_account_is_created(find):
    fix = find(service_account="trainer")["service account trainer", "team-a"].fix
    assert fix.endswith("\nkubectl -n team-a create serviceaccount trainer") and "default-editor" in fix
