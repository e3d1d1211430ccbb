"""The tiny pipeline in its images releases a signed champion without network or capabilities, on a read-only root.

KFP's DockerRunner can report a failed step as a success, so the outputs are checked instead.
"""

import pytest

from components.shared.evaluation.decision import read_decision
from components.shared.release.bundle import verify
from components.shared.release.proof import PROOF
from components.shared.release.signing import load_public_key
from components.shared.storage import read_json

pytestmark = [pytest.mark.containers, pytest.mark.timeout(3600)]


def test_every_stage_wrote_its_output(pipeline):
    decision = read_decision(pipeline.artifact("evaluate-model", "evaluation"))
    assert decision.blessed, decision.reasons
    outputs = {
        "ingest-events": "events", "validate-data": "statistics", "build-features": "features",
        "train-retriever": "model", "train-ranker": "model", "evaluate-model": "evaluation",
        "compile-model": "compiled", "register-model": "bundle", "validate-serving": "proof",
    }  # fmt: skip
    assert [pipeline.artifact(task, name).exists() for task, name in outputs.items()] == [True] * len(outputs)
    assert pipeline.code == 0, pipeline.log[-6000:]


def test_champion_is_signed_and_proven(pipeline):
    champion = pipeline.registry.resolve("shop/champion")
    manifest = verify(champion, load_public_key(pipeline.public_key))
    proof = read_json(pipeline.artifact("validate-serving", "proof") / PROOF)
    assert (proof["version"], proof["content"]) == (manifest.version, manifest.content)
    assert proof["golden"] > 0


def test_steps_ran_as_user_1000_and_installed_nothing(pipeline):
    assert {path.stat().st_uid for path in pipeline.root.rglob("*") if path.is_file()} == {1000}
    assert "pip install" not in pipeline.log
