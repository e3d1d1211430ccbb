"""The proof on a real predictor process: it passes or fails with the last log lines, and always ends the process."""

import json
import os

import pytest
from kfp.dsl import Artifact, Metrics, Model

from components.shared.errors import InputError, ServingError
from components.shared.release.bundle import BundleFacts, sign, write_manifest
from components.shared.release.proof import read_proof
from components.shared.release.signing import load_or_create_key
from components.validate_serving.component import validate_serving
from components.validate_serving.predictor import PredictorConfig, running
from components.validate_serving.prove import ProofConfig, prove
from serving.tests.handmade import AS_OF, write_bundle, write_compiled

# The proof measures the memory of the predictor's process, and ends it.
pytestmark = pytest.mark.usefixtures("real_processes")


@pytest.fixture(scope="module")
def bundle(tmp_path_factory):
    folder = tmp_path_factory.mktemp("prove")
    return write_bundle(folder / "bundle", folder / "key.pem")


def _config(**changes):
    return ProofConfig(requests=20, warm_up=2, max_p99_ms=5_000, **changes)


def _signed(folder, golden):
    write_compiled(folder)
    (folder / "golden.json").write_text(json.dumps(golden))
    write_manifest(folder, BundleFacts(name="handmade", as_of=AS_OF, schema_hash="x"))
    sign(folder, load_or_create_key(folder.parent / "key.pem"))
    return folder


def test_component_proves_a_valid_bundle(bundle, tmp_path, capsys):
    proof, report = Artifact(uri=str(tmp_path / "proof")), Metrics(uri=str(tmp_path / "report"))
    validate_serving.python_func(
        bundle=Model(uri=str(bundle)), proof=proof, report=report, release={"max_p99_ms": 5_000.0},
        public_key=str(bundle.parent / "key.pem.pub"),
    )  # fmt: skip
    found = read_proof(tmp_path / "proof")
    assert found.golden == 3 and found.max_score_difference < 1e-3 and found.requests == 300
    assert 0 < found.p50_ms <= found.p99_ms and 50 < found.memory_mb < 2_000
    assert report.metadata["p99_ms"] == found.p99_ms
    assert "progress validate_serving 1.000" in capsys.readouterr().out


def test_exceeded_limits_are_refused_and_nothing_is_written(bundle, tmp_path):
    with pytest.raises(ServingError, match=r"uses \d+ MB, the limit \(max_memory_mb\) is 10 MB"):
        prove(bundle, tmp_path / "proof", _config(max_memory_mb=10))
    with pytest.raises(ServingError, match=r"p99 latency is .* the limit \(max_p99_ms\) is 0.0 ms"):
        prove(bundle, tmp_path / "proof", ProofConfig(requests=20, warm_up=2, max_p99_ms=0.001))
    with pytest.raises(InputError, match="not above 0"):
        prove(bundle, tmp_path / "proof", ProofConfig(max_p99_ms=0))
    assert not (tmp_path / "proof").exists()


def test_error_of_a_predictor_that_does_not_start_quotes_its_log(tmp_path):
    wrong = [{"request": {"user_id": "ann", "k": 1}, "items": ["yogurt"], "scores": [0.9]}]
    bundle = _signed(tmp_path / "bundle", wrong)
    with pytest.raises(ServingError, match="ended with code 2 before it was ready") as refusal:
        prove(bundle, tmp_path / "proof", _config())
    assert "golden request 1" in refusal.value.fix


def test_predictor_that_is_not_ready_in_time_is_refused(bundle):
    with (
        pytest.raises(ServingError, match="not ready within 0 s"),
        running(bundle, PredictorConfig(startup_s=0.1)),
    ):
        pass


def test_process_ends_after_an_exception_in_the_block(bundle):
    with pytest.raises(KeyError), running(bundle, PredictorConfig()) as predictor:
        raise KeyError("in the body")
    assert predictor.process.returncode is not None
    with pytest.raises(ProcessLookupError):
        os.kill(predictor.process.pid, 0)
