"""Options and release gates of the stage, and its KFP component on a real InferenceService."""

import dataclasses
import os
import re
import shutil

import pytest
from kfp.dsl import HTML, Artifact, Metrics

from components.rollout_model.component import rollout_model
from components.rollout_model.evidence import LogEvidence, PrometheusEvidence, Versions
from components.rollout_model.record import read_record
from components.rollout_model.run import evidence_at, rollout_of
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
def rollout_stage(registered_versions, cluster, api_server, tmp_path, monkeypatch):
    """(function that runs the component for a version in the namespace of `cluster`, registry, versions)."""
    shutil.copytree(registered_versions[0], tmp_path / "registry")
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
        rollout = {"evidence": f"{tmp_path}/log", "gateway": "shoprank"} | {
            name: value for name, value in further.items() if name != "mode"
        }
        release = {"namespace": cluster.namespace} | {name: further[name] for name in ("mode",) if name in further}
        done = rollout_model.python_func(
            proof=Artifact(uri=f"{tmp_path}/proof"), evaluation=Artifact(uri=f"{tmp_path}/evaluation"),
            registry=os.fspath(registry.root), model_name="handmade", version=version, release=release, rollout=rollout,
            **outputs,
        )  # fmt: skip
        return done, outputs

    return call, registry, registered_versions[1:]


def test_record_is_written_to_the_registry_and_the_outputs(rollout_stage, cluster, tmp_path):
    call, registry, (champion, candidate) = rollout_stage
    cluster.create(INFERENCE_SERVICE, manifest(ServiceSpec(model="handmade"), champion))
    # The namespace has no ServingRuntime: the candidate never gets ready, so the rollout is rolled back.
    done, outputs = call(candidate, steps=[50, 100], guards={"min_sample": 5}, ready_s=2.0)
    assert done == "rolled_back" and outputs["result"].metadata["promoted"] == 0.0
    record = read_record(tmp_path / "record")
    assert (record.champion, record.candidate, record.steps) == (champion, candidate, (50, 100))
    assert "dark launch" in record.reasons[0] and record.guards.min_sample == 5
    assert "Rolled back" in (tmp_path / "page.html").read_text()
    kept = registry.rollouts("handmade", candidate)
    assert len(kept) == 1 and read_record(kept[0]) == record
    assert "canary" not in cluster.get(INFERENCE_SERVICE, "shoprank")["spec"]


def test_refused_rollouts_do_not_change_the_service(rollout_stage, cluster):
    call, _, (champion, candidate) = rollout_stage
    with pytest.raises(RegistryError, match="is not blessed"):
        call(candidate, blessed=False)
    with pytest.raises(MissingObject, match="InferenceService shoprank: not found"):
        call(candidate)
    service = cluster.create(INFERENCE_SERVICE, manifest(ServiceSpec(model="handmade"), champion))
    with pytest.raises(RegistryError, match="is already the champion"):
        call(champion)
    with pytest.raises(InputError, match="is in mode Standard, not Knative"):
        call(candidate, mode="Knative")
    with pytest.raises(InputError, match=r"rollout.evidence is empty"):
        call(candidate, evidence="")
    with pytest.raises(InputError, match=r"rollout.gateway is empty.*Standard mode"):
        call(candidate, gateway="")
    assert cluster.get(INFERENCE_SERVICE, "shoprank")["spec"] == service["spec"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"steps": [5, "x"]}, "rollout.steps[1] is 'x'"),
        ({"steps": []}, "rollout.steps is []"),
        ({"steps": [50, 20, 100]}, "rollout: steps are [50, 20, 100]"),
        ({"steps": [0, 100]}, "rollout.steps[0] is 0"),
        ({"steps": [5, 25]}, "rollout: steps are [5, 25]"),
        ({"guards": []}, "rollout.guards is []"),
        ({"guards": {"min_samples": 5}}, "rollout.guards.min_samples is not an option"),
        ({"guards": {"alpha": 2}}, "rollout.guards.alpha is 2"),
        ({"poll_s": 0}, "rollout.poll_s is 0"),
        ({"evidence": ""}, "rollout.evidence is empty"),
        ({"gateway": ""}, "rollout.gateway is empty"),
    ],
)
def test_invalid_options_are_refused_by_their_path(options, message, tmp_path):
    with pytest.raises(InputError, match=re.escape(message)):
        given = {"evidence": "http://prometheus:9090", "gateway": "shoprank", **options}
        rollout_of(tmp_path, ("shop", "v1"), {}, given)


def test_kind_of_evidence_follows_from_its_address(tmp_path):
    versions = Versions("a", "b")
    assert isinstance(evidence_at("http://prometheus:9090", versions), PrometheusEvidence)
    assert isinstance(evidence_at(str(tmp_path), versions), LogEvidence)
