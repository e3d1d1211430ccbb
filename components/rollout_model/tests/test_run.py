"""The stage's parameters and papers, and its KFP face on a real service."""

import dataclasses
import os
import shutil

import pytest
from kfp.dsl import HTML, Artifact, Metrics

from components.rollout_model.component import rollout_model
from components.rollout_model.evidence import LogEvidence, PrometheusEvidence, Versions
from components.rollout_model.record import read_record
from components.rollout_model.run import evidence_at, parse_plan
from components.shared.cluster.inference_service import ServiceSpec, manifest
from components.shared.cluster.kinds import INFERENCE_SERVICE
from components.shared.errors import InputError, MissingObject, RegistryError
from components.shared.evaluation.decision import Decision
from components.shared.release.bundle import read_manifest
from components.shared.release.proof import PROOF, Proof
from components.shared.release.registry import Registry
from components.shared.storage import write_json

pytestmark = pytest.mark.filterwarnings("ignore:Unverified HTTPS request")


@pytest.fixture
def desk(shelves, cluster, api_server, tmp_path, monkeypatch):
    """Calls the face for a version in the namespace of `cluster`: (call, registry, versions)."""
    shutil.copytree(shelves[0], tmp_path / "registry")
    (tmp_path / "log").mkdir()
    registry = Registry(tmp_path / "registry")
    monkeypatch.setenv("KUBECONFIG", os.fspath(api_server.kubeconfig))

    def call(version, blessed=True, **further):
        content = read_manifest(registry.resolve(f"handmade/{version}")).content
        proof = Proof(name="handmade", version=version, content=content, golden=3, max_score_difference=0, requests=1,
                      p50_ms=1, p99_ms=2, memory_mb=9, startup_s=1, max_p99_ms=5, max_memory_mb=500)  # fmt: skip
        write_json(tmp_path / "proof" / PROOF, dataclasses.asdict(proof))
        (tmp_path / "evaluation").mkdir(exist_ok=True)
        Decision(blessed, ("worse than popularity",), {}).write(tmp_path / "evaluation")
        outputs = {"record": Artifact(uri=f"{tmp_path}/record"), "page": HTML(uri=f"{tmp_path}/page.html"),
                   "result": Metrics(uri=f"{tmp_path}/result")}  # fmt: skip
        given = {"evidence": f"{tmp_path}/log", "namespace": cluster.namespace} | further
        done = rollout_model.python_func(
            proof=Artifact(uri=f"{tmp_path}/proof"), evaluation=Artifact(uri=f"{tmp_path}/evaluation"),
            registry=os.fspath(registry.root), model_name="handmade", version=version, **outputs, **given,
        )  # fmt: skip
        return done, outputs

    return call, registry, shelves[1:]


def test_the_record_lies_with_the_version_and_in_the_outputs(desk, cluster, tmp_path):
    call, registry, (champion, candidate) = desk
    cluster.create(INFERENCE_SERVICE, manifest(ServiceSpec(model="handmade"), champion))
    # Nobody plays KServe here: the candidate is never ready, which is a rollback by the book.
    done, outputs = call(candidate, steps="50,100", guards='{"min_sample": 5}', ready_s=2.0)
    assert done == "rolled_back" and outputs["result"].metadata["promoted"] == 0.0
    record = read_record(tmp_path / "record")
    assert (record.champion, record.candidate, record.steps) == (champion, candidate, (50, 100))
    assert "dark launch" in record.reasons[0] and record.guards.min_sample == 5
    assert "Rolled back" in (tmp_path / "page.html").read_text()
    kept = registry.rollouts("handmade", candidate)
    assert len(kept) == 1 and read_record(kept[0]) == record
    assert "canary" not in cluster.get(INFERENCE_SERVICE, "shoprank")["spec"]


def test_what_may_not_be_rolled_out_touches_no_service(desk, cluster):
    call, _, (champion, candidate) = desk
    with pytest.raises(RegistryError, match="is not blessed"):
        call(candidate, blessed=False)
    with pytest.raises(MissingObject, match="InferenceService shoprank: there is none"):
        call(candidate)
    service = cluster.create(INFERENCE_SERVICE, manifest(ServiceSpec(model="handmade"), champion))
    with pytest.raises(RegistryError, match="is the champion already"):
        call(champion)
    with pytest.raises(InputError, match="is in mode Standard, not Knative"):
        call(candidate, mode="Knative")
    with pytest.raises(InputError, match="'evidence' is empty"):
        call(candidate, evidence="")
    assert cluster.get(INFERENCE_SERVICE, "shoprank") == service


@pytest.mark.parametrize(
    ("steps", "guards", "said"),
    [
        ("5,x", "", "'steps' is '5,x'"),
        ("", "", "'steps' is ''"),
        ("50,20,100", "", "steps are"),
        ("100", "{", "'guards' is not JSON"),
        ("100", "[]", "'guards' is not an object"),
        ("100", '{"min_samples": 5}', "guard configuration"),
        ("100", '{"alpha": 2}', "alpha is 2"),
    ],
)
def test_parameters_that_cannot_be_are_named(steps, guards, said):
    with pytest.raises(InputError, match=said):
        parse_plan(steps, guards, 15, "shoprank")


def test_evidence_by_its_place(tmp_path):
    versions = Versions("a", "b")
    assert isinstance(evidence_at("http://prometheus:9090", versions), PrometheusEvidence)
    assert isinstance(evidence_at(str(tmp_path), versions), LogEvidence)
