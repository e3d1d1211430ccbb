"""A small model as native code: the same answers as the trained one; served, refused, encrypted and refreshed."""

import json
import shutil
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

from components.compile_model.compile import compile_model
from components.compile_model.config import CompileOptions, Limits
from components.compile_model.parity import compare
from components.refresh_catalog.refresh import refresh
from components.register_model.register import RegisterConfig, register
from components.shared.errors import BundleError, DataError, InputError
from components.shared.features.columns import DenseInput
from components.shared.features.rows import Rows
from components.shared.recommender.candidates import CandidateConfig
from components.shared.recommender.exported_models import ExportedModels
from components.shared.recommender.offline import TorchModels, open_offline
from components.shared.recommender.recommender import Recommender
from components.shared.recommender.runtime import RuntimeRecord
from components.shared.release.bundle import read_manifest, verify
from components.shared.release.encryption import create_key, decrypt, encrypt
from components.shared.release.golden import read_golden
from components.shared.release.signing import load_or_create_key
from components.shared.storage import read_json, write_json
from components.validate_serving.predictor import PredictorConfig, running
from components.validate_serving.prove import ProofConfig, prove

slow = pytest.mark.slow


@pytest.fixture(scope="session")
def native(tiny_run) -> Path:
    """The tiny model compiled by AOTInductor."""
    if shutil.which("g++") is None:
        pytest.skip("g++ is not installed")
    return tiny_run.native


@pytest.fixture(scope="session")
def bundles(tiny_run, native, tmp_path_factory) -> tuple[Path, Path, Path]:
    """Bundles of the same model for onnxruntime and as native code, and the public key of both."""
    folder = tmp_path_factory.mktemp("bundles")
    config = RegisterConfig(registry=folder / "registry", name="shop", signing_key=folder / "key.pem")
    load_or_create_key(config.signing_key)
    for compiled, name in ((tiny_run.compiled, "onnx"), (native, "native")):
        register(compiled, None, folder / name, config)
    return folder / "onnx", folder / "native", folder / "key.pem.pub"


@pytest.fixture(scope="module")
def trained(tiny_run) -> Recommender:
    config = CandidateConfig(**read_json(tiny_run.ranker / "candidates.json"))
    return open_offline(tiny_run.features, tiny_run.retriever, tiny_run.ranker, config)


@pytest.fixture
def one_thread():
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


def models_of(tiny_run):
    return tiny_run.features, tiny_run.retriever, tiny_run.ranker, tiny_run.statistics


def random_inputs(trained: Recommender, rows: int):
    """Random inputs with valid ids: user, item, row, dense."""
    random = np.random.default_rng(rows)

    def padded(features, count):
        ids = [random.integers(0, feature.rows, (count, feature.max_length)) for feature in features]
        weights = [random.random((count, feature.max_length)) / feature.max_length for feature in features]
        return np.concatenate(ids, 1), np.concatenate(weights, 1).astype(np.float32)

    assert isinstance(trained.models, TorchModels) and trained.models.ranker is not None
    pairs = 3 * rows + 1
    dense = random.normal(0, 3, (pairs, len(DenseInput))).astype(np.float32)
    item = padded(trained.models.ranker.config.item_features, pairs)
    return padded(trained.spec.user_features, rows), item, np.sort(random.integers(0, rows, pairs)), dense


@slow
def test_native_code_matches_the_trained_model_and_onnxruntime(trained, native, tiny_run, one_thread):
    served, graphs = ExportedModels.load(native), ExportedModels.load(tiny_run.compiled)
    assert (served.runtime, graphs.runtime) == ("aotinductor", "onnxruntime")
    for rows in (1, 2, 33):
        user, item, row, dense = random_inputs(trained, rows)
        for models, tolerance in ((trained.models, 1e-2), (graphs, 1e-4)):
            np.testing.assert_allclose(served.user_vectors(*user), models.user_vectors(*user), atol=tolerance)
            found, wanted = (one.task_probabilities(user, item, row, dense) for one in (served, models))
            assert found.shape == (len(row), 2) and found.dtype == np.float32
            np.testing.assert_allclose(found, wanted, atol=tolerance)
    assert served.task_probabilities(user, item, np.zeros(0, np.int64), dense[:0]).shape == (0, 2)


@slow
def test_inputs_of_another_memory_order_or_dtype_give_the_same_result(trained, native, one_thread):
    served, (user, item, row, dense) = ExportedModels.load(native), random_inputs(trained, 5)
    wanted = served.task_probabilities(user, item, row, dense)
    other = [tuple(np.asfortranarray(values) for values in pair) for pair in (user, item)]
    found = served.task_probabilities(other[0], other[1], row.astype(np.int32), np.asfortranarray(dense, np.float64))
    np.testing.assert_array_equal(found, wanted)
    dense.flags.writeable = False
    np.testing.assert_array_equal(served.task_probabilities(user, item, row, dense), wanted)


@slow
def test_concurrent_calls_do_not_interfere_and_respect_the_thread_limit(trained, native, one_thread):
    served = ExportedModels.load(native, threads=1)
    cases = [random_inputs(trained, rows) for rows in range(1, 25)]
    wanted = [served.task_probabilities(*case) for case in cases]

    # Twelve callers: with torch's own runners, one of them waited forever while it held the GIL.
    def ask(case):
        return served.task_probabilities(*case), torch.get_num_threads()

    with ThreadPoolExecutor(12) as pool:
        for (found, threads), expected in zip(pool.map(ask, cases * 4), wanted * 4, strict=True):
            np.testing.assert_array_equal(found, expected)
            assert threads == 1
    ExportedModels.load(native, threads=2).task_probabilities(*cases[0])
    assert torch.get_num_threads() == 2


@slow
def test_id_beyond_its_table_raises_an_error_instead_of_a_crash(trained, native, one_thread):
    served, (user, *_) = ExportedModels.load(native), random_inputs(trained, 3)
    with pytest.raises(RuntimeError, match="index out of bounds"):
        served.user_vectors(user[0] + 10**9, user[1])
    assert np.isfinite(served.user_vectors(*user)).all()


@slow
def test_native_code_meets_the_same_limits(trained, native, tiny_run, one_thread):
    figures = read_json(native / "compile.json")
    assert figures["runtime"] == "aotinductor" and figures["compiled_mb"] < figures["trained_mb"]
    assert figures["max_probability_difference"] <= 0.02 and figures["rank_overlap_at_10"] >= 0.95
    assert figures["ndcg_at_10_compiled"] >= 0.98 * figures["ndcg_at_10_trained"] > 0
    rows = Rows.read(tiny_run.features / "rows" / "validation.parquet", trained.spec)
    with pytest.raises(DataError, match="compiled and trained model differ"):
        compare(trained, Recommender.open(native), rows, Limits(shoppers=10, max_probability_difference=1e-9))


@slow
def test_folder_contains_native_graphs_and_their_requirements(native, bundles):
    graphs = sorted(
        path.relative_to(native).as_posix() for path in native.rglob("*.*") if path.suffix in {".onnx", ".pt2"}
    )
    assert graphs == ["ranker/ranker.pt2", "retriever/item.onnx", "retriever/user.pt2"]
    assert read_json(native / "runtime.json") == {
        "name": "aotinductor", "torch": torch.__version__.split("+")[0], "machine": "x86_64",
        "cpu": ["avx2", "f16c", "fma"],
    }  # fmt: skip
    lineage = read_manifest(bundles[1]).lineage
    assert lineage["runtime"] == "aotinductor" and lineage["runtime_cpu"] == "x86_64 avx2 f16c fma"
    assert "runtime" not in read_manifest(bundles[0]).lineage


@slow
def test_both_runtimes_are_proven_and_answer_alike_over_http(bundles, tmp_path):
    requests, answers = [{"k": 10}, {"query": "milk", "k": 5}, *(one.request for one in read_golden(bundles[0]))], {}
    for bundle in bundles[:2]:
        proof = prove(bundle, tmp_path / bundle.name, ProofConfig(requests=20, warm_up=5, max_p99_ms=2000))
        assert proof.golden == len(read_golden(bundle)) and proof.max_score_difference < 1e-4
    onnx, native, key = bundles
    with (
        running(native, PredictorConfig(public_key=key)) as other,
        running(onnx, PredictorConfig(public_key=key, further=("--shadow_url", other.url))) as predictor,
        httpx.Client(trust_env=False, timeout=30) as client,
    ):
        for name, url in (("native", other.url), ("onnx", predictor.url)):
            predictions = client.post(f"{url}/v1/models/shoprank:predict", json={"instances": requests}).json()[
                "predictions"
            ]
            answers[name] = [[item["item_id"] for item in one["items"]] for one in predictions]
        explained = client.post(f"{other.url}/v1/models/shoprank:explain", json={"instances": requests[:1]}).json()
        assert explained["explanations"][0]["items"][0]["contributions"]
        info = [line for line in client.get(f"{other.url}/metrics").text.splitlines() if "shoprank_model_info{" in line]
        assert len(info) == 1 and 'runtime="aotinductor"' in info[0]
        deadline, compared = time.monotonic() + 20, 0.0
        while compared < len(requests) and time.monotonic() < deadline:
            text = client.get(f"{predictor.url}/metrics").text
            counted = (line for line in text.splitlines() if 'shoprank_shadow_total{outcome="compared"}' in line)
            compared = sum(float(line.split()[-1]) for line in counted)
    assert answers["native"] == answers["onnx"] and all(answers["onnx"])
    assert compared == len(requests)


@slow
def test_predictor_refuses_native_code_without_a_public_key(bundles):
    command = [sys.executable, "-m", "serving", "--http_port", "28180", "--grpc_port", "28181", "--model_dir"]
    done = subprocess.run([*command, bundles[1]], capture_output=True, text=True, timeout=60)
    assert done.returncode == 2 and "native code, and there is no --public_key" in done.stderr
    assert "fix: give --public_key, or --unsigned_code" in done.stderr and "Traceback" not in done.stderr


@slow
@pytest.mark.parametrize(
    ("record", "message"),
    [
        ({"torch": "2.12.0"}, r"user\.pt2 was compiled with torch 2\.12\.0, but torch \d+\.\d+"),
        ({"machine": "aarch64"}, r"user\.pt2 is native code for aarch64, but this machine is x86_64"),
        ({"cpu": ["avx2", "avx1024"]}, r"user\.pt2 needs avx1024, which this CPU does not support"),
        ({"name": "tvm"}, r"has runtime 'tvm', but this version supports onnxruntime, aotinductor"),
        ({"surplus": 1}, r"runtime\.json cannot be read"),
    ],
)
def test_native_code_for_another_environment_is_refused(native, tmp_path, record, message):
    copy = tmp_path / "copy"
    shutil.copytree(native, copy)
    write_json(copy / "runtime.json", read_json(copy / "runtime.json") | record)
    with pytest.raises(BundleError, match=message) as caught:
        Recommender.open(copy)
    assert "again" in caught.value.fix


@slow
def test_damaged_package_and_missing_torch_are_reported(native, tmp_path, monkeypatch):
    copy = tmp_path / "copy"
    shutil.copytree(native, copy)
    (copy / "ranker" / "ranker.pt2").write_bytes(b"no package")
    with pytest.raises(BundleError, match=r"ranker\.pt2 cannot be loaded") as caught:
        Recommender.open(copy)
    assert "/tmp" in caught.value.fix
    monkeypatch.setitem(sys.modules, "torch", None)
    with pytest.raises(BundleError, match="torch is not installed") as caught:
        ExportedModels.load(native)
    assert "predictor image" in caught.value.fix


@slow
def test_native_bundle_is_encrypted_and_decrypted_like_any_other(bundles, tmp_path, one_thread):
    key = create_key(tmp_path / "key.jwk")
    encrypt(bundles[1], tmp_path / "encrypted", key)
    assert not list((tmp_path / "encrypted").rglob("*.pt2"))
    decrypt(tmp_path / "encrypted", tmp_path / "plain", key)
    assert verify(tmp_path / "plain", load_or_create_key(bundles[2].with_suffix("")).public_key())
    assert isinstance(Recommender.open(tmp_path / "plain").models, ExportedModels)


@slow
def test_catalog_of_a_native_bundle_is_refreshed_with_its_public_key(bundles, tmp_path, one_thread):
    items = tmp_path / "items.parquet"
    pq.write_table(pa.table({"item_id": ["brand-new"], "title": ["Organic oat milk"]}), items)
    with pytest.raises(BundleError, match="there is no public_key"):
        refresh(bundles[1], items, tmp_path / "out")
    assert refresh(bundles[1], items, tmp_path / "out", str(bundles[2])).added == 1
    after = Recommender.open(tmp_path / "out")
    assert "brand-new" in after.catalog.item_id.to_pylist() and read_golden(tmp_path / "out")
    assert RuntimeRecord.read(tmp_path / "out").name == "aotinductor"


@slow
def test_missing_compiler_is_reported_before_any_work(tiny_run, tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", "")
    monkeypatch.delenv("CXX", raising=False)
    with pytest.raises(InputError, match=r"no C\+\+ compiler 'g\+\+' on PATH") as caught:
        compile_model(*models_of(tiny_run), tmp_path / "out", CompileOptions(runtime="aotinductor"))
    assert "install g++" in caught.value.fix and "runtime=onnxruntime" in caught.value.fix
    assert not list(tmp_path.iterdir())


def test_unknown_runtime_and_int8_with_aotinductor_are_refused():
    with pytest.raises(InputError, match=r"compile.runtime is 'tensorrt'") as caught:
        CompileOptions.read({"runtime": "tensorrt"}, "compile")
    assert caught.value.fix == "use one of: onnxruntime, aotinductor"
    with pytest.raises(InputError, match="compile: dense_format is 'int8' and runtime 'aotinductor'"):
        CompileOptions.read({"dense_format": "int8", "runtime": "aotinductor"}, "compile")


def test_bundle_without_a_runtime_record_uses_onnxruntime(tmp_path):
    assert RuntimeRecord.read(tmp_path) == RuntimeRecord()
    assert RuntimeRecord().facts() == {}
    (tmp_path / "runtime.json").write_text(json.dumps([]))
    with pytest.raises(BundleError, match=r"runtime\.json cannot be read"):
        RuntimeRecord.read(tmp_path)
