"""Starting the predictor: errors are printed in two lines, and the serving image needs no training library."""

import os
import shutil
import socket
import subprocess
import sys

import pytest

from components.shared.release.signing import load_or_create_key
from components.validate_serving.predictor import PredictorConfig, running
from serving.__main__ import main


@pytest.fixture
def serve(capsys):
    """A function that starts a predictor in this process, which must fail, and returns exit code and error output."""

    def run(*arguments):
        try:
            code = main(["--http_port", "28080", "--grpc_port", "28081", *map(str, arguments)])
        except SystemExit as stop:
            code = stop.code
        return code, capsys.readouterr().err

    return run


def _copy(signed, tmp_path):
    shutil.copytree(signed[0], tmp_path / "bundle")
    return tmp_path / "bundle"


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda b: (b / "ranker" / "ranker.onnx").write_bytes(b"cut"), "ranker/ranker.onnx has 3 bytes"),
        (lambda b: (b / "items.parquet").unlink(), "items.parquet is missing"),
        (lambda b: (b / "bundle.sig").unlink(), "bundle.sig is missing"),
        (lambda b: shutil.rmtree(b), "bundle.json is missing"),
    ],
)
def test_damaged_bundle_is_refused_with_the_name_of_the_file(signed, tmp_path, serve, damage, message):
    bundle = _copy(signed, tmp_path)
    damage(bundle)
    code, output = serve("--model_dir", bundle, "--public_key", signed[1])
    assert code == 2 and f"error: {bundle}/{message}" in output and "fix:" in output


def test_startup_error_is_printed_without_a_traceback(tmp_path):
    command = [sys.executable, "-m", "serving", "--http_port", "28080", "--grpc_port", "28081", "--model_dir", tmp_path]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert done.returncode == 2 and f"error: {tmp_path}/bundle.json is missing" in done.stderr
    assert "fix:" in done.stderr and "Traceback" not in done.stderr


def test_a_bundle_signed_by_someone_else_is_refused(signed, tmp_path, serve):
    load_or_create_key(tmp_path / "other.pem")
    code, output = serve("--model_dir", signed[0], "--public_key", tmp_path / "other.pem.pub")
    assert code == 2 and "was made with another key" in output


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--workers", "2"], "--workers is 2"),
        (["--threads", "0"], "--threads is 0"),
        (["--grpc_port", "28080"], "--http_port and --grpc_port are the same"),
        (["--http_port", "70000"], "--http_port is 70000"),
        (["--public_key", "/none.pub"], "cannot read the public key /none.pub"),
        (["--clock", "sundial"], "invalid choice: 'sundial'"),
    ],
)
def test_invalid_flags_are_named(signed, serve, arguments, message):
    code, output = serve("--model_dir", signed[0], *arguments)
    assert code == 2 and message in output


def test_port_in_use_is_reported(signed, serve):
    with socket.socket() as taken:
        taken.bind(("0.0.0.0", 0))
        taken.listen()
        port = taken.getsockname()[1]
        for flag in ("--http_port", "--grpc_port"):
            code, output = serve("--model_dir", signed[0], flag, port)
            assert code == 2 and f"{flag} {port} cannot be used: Address already in use" in output


def test_predictor_stops_within_seconds_of_sigterm(signed):
    with running(signed[0], PredictorConfig()) as predictor:
        predictor.process.terminate()
        predictor.process.wait(8)


def test_the_predictor_opens_a_bundle_of_onnxruntime_without_a_training_library(signed):
    program = """
import os, sys, importlib.abc, pathlib
FORBIDDEN = {"torch", "torchrec", "fbgemm_gpu", "kfp", "duckdb", "matplotlib", "sklearn"}
class Blocker(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in FORBIDDEN:
            raise ModuleNotFoundError(f"{name} is not in the serving image", name=name)
sys.meta_path.insert(0, Blocker())
import serving.__main__
from components.shared.recommender.recommender import Recommender
assert Recommender.open(pathlib.Path(os.environ["BUNDLE"])).models.runtime == "onnxruntime"
assert not FORBIDDEN & set(sys.modules)
"""
    environment = {**os.environ, "BUNDLE": str(signed[0])}
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, env=environment)
    assert done.returncode == 0, done.stderr
