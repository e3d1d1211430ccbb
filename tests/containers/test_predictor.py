"""The predictor's container on the bundle of the pipeline, queried over HTTP."""

import contextlib
import json
import shutil
import textwrap

import pytest

from components.shared.images import DATA_IMAGE, PREDICTOR_IMAGE, TRAIN_IMAGE
from components.shared.release.bundle import read_manifest

pytestmark = [pytest.mark.containers, pytest.mark.timeout(3600)]

CLIENT = textwrap.dedent("""
    import httpx, json, sys, time
    questions = json.loads(sys.argv[1])
    client = httpx.Client(base_url="http://127.0.0.1:8080", trust_env=False, timeout=30)
    ready, end = 0, time.monotonic() + 120
    while ready != 200 and time.monotonic() < end:
        time.sleep(0.2)
        try:
            ready = client.get("/v2/models/shoprank/ready").status_code
        except httpx.TransportError:
            pass
    answers = [client.post(path, json=body) for path, body in questions]
    metrics = client.get("/metrics").text
    print(json.dumps({"ready": ready, "metrics": metrics, "answers": [[a.status_code, a.json()] for a in answers]}))
""")
"""Runs in a second container that shares the predictor's network, which is loopback alone."""

HARDENED = (
    "--read-only", "--tmpfs", "/tmp:exec", "--cap-drop", "ALL", "--security-opt", "no-new-privileges", "--memory", "2g",
    "--pids-limit", "200",
)  # fmt: skip
"""Native graphs need an executable /tmp: a Kubernetes emptyDir is one, a Docker tmpfs only with `exec`."""

COMPILE = textwrap.dedent("""
    import sys
    from pathlib import Path
    from components.compile_model.compile import CompileOptions, compile_model
    from components.register_model.register import RegisterConfig, register
    from components.shared.release.signing import create_key
    *models, out = map(Path, sys.argv[1:])
    compile_model(*models, out / "compiled", CompileOptions(runtime="aotinductor"))
    where = RegisterConfig(registry=out / "registry", name="native", signing_key=out / "key.pem")
    create_key(where.signing_key)
    register(out / "compiled", None, out / "bundle", where)
""")


@pytest.fixture(scope="module")
def bundle(pipeline):
    return pipeline.registry.resolve("shop/champion")


@contextlib.contextmanager
def served(engine, bundle, public_key):
    """Id of a predictor's container on `bundle`."""
    mounts = ["--volume", f"{bundle}:/mnt/models:ro", "--volume", f"{public_key}:/etc/shoprank/public.pem:ro"]
    container = engine.run(
        "run", "--detach", "--network", "none", *HARDENED, *mounts, PREDICTOR_IMAGE,
        "--public_key=/etc/shoprank/public.pem", "--clock=bundle",
    ).stdout.strip()  # fmt: skip
    try:
        yield container
    finally:
        engine.run("rm", "--force", container, check=False)


def query(engine, bundle, public_key, questions):
    """Query a predictor on `bundle`; return the output of the client: ready, metrics, answers."""
    with served(engine, bundle, public_key) as container:
        client = engine.run(
            "run", "--rm", "--network", f"container:{container}", *HARDENED, DATA_IMAGE, "python", "-c", CLIENT,
            json.dumps(questions), check=False,
        )  # fmt: skip
        log = engine.run("logs", container).stderr
    assert client.returncode == 0, f"{client.stderr}\n{log}"
    result = json.loads(client.stdout)
    assert result["ready"] == 200, log
    return result


def test_predictor_image_answers_over_http(images, pipeline, bundle):
    questions = [
        ("/v1/models/shoprank:predict", {"instances": [{"user_id": "nobody-yet", "query": "milk", "k": 5}]}),
        ("/v2/models/shoprank/infer", {"inputs": [
            {"name": "query", "datatype": "BYTES", "shape": [1], "data": ["bread"]},
            {"name": "k", "datatype": "INT32", "shape": [1], "data": [3]},
        ]}),
        ("/v1/models/shoprank:predict", {"instances": [{"k": -1}]}),
    ]  # fmt: skip
    result = query(images, bundle, pipeline.public_key, questions)
    (found, first), (columns, second), (refused, error) = result["answers"]
    assert (found, columns, refused) == (200, 200, 400), result["answers"]
    answer = first["predictions"][0]
    assert answer["model_version"] == read_manifest(bundle).version
    assert 0 < len(answer["items"]) <= 5 and all(item["reasons"] for item in answer["items"])
    assert {"item_id", "score"} <= {output["name"] for output in second["outputs"]}
    assert "k" in error["error"]
    assert 'model_name="shoprank"' in result["metrics"]


def test_predictor_image_serves_native_code_compiled_in_the_train_image(images, pipeline, bundle):
    out = pipeline.root / "native"
    out.mkdir()
    out.chmod(0o777)
    outputs = {"build-features": "features", "train-retriever": "model", "train-ranker": "model"}
    models = [pipeline.artifact(task, name) for task, name in outputs.items()]
    models.append(pipeline.artifact("validate-data", "statistics"))
    images.run("run", "--rm", "--network", "none", "--volume", f"{pipeline.root}:{pipeline.root}", TRAIN_IMAGE,
               "python", "-c", COMPILE, *map(str, [*models, out]), timeout=900)  # fmt: skip
    questions = [("/v1/models/shoprank:predict", {"instances": [{"k": 10}, {"query": "milk", "k": 5}]})]
    native = query(images, out / "bundle", out / "key.pem.pub", questions)
    assert 'runtime="aotinductor"' in native["metrics"]
    both = [native, query(images, bundle, pipeline.public_key, questions)]
    assert 'runtime="onnxruntime"' in both[1]["metrics"]
    items = [[[item["item_id"] for item in one["items"]] for one in found["answers"][0][1]["predictions"]]
             for found in both]  # fmt: skip
    assert items[0] == items[1] and all(items[0])


def test_predictor_refuses_a_tampered_bundle(images, pipeline, bundle, tmp_path):
    copy = tmp_path / "bundle"
    shutil.copytree(bundle, copy)
    path = copy / "retriever" / "user.onnx"
    path.write_bytes(path.read_bytes()[:-1] + b"\0\0")
    with served(images, copy, pipeline.public_key) as container:
        assert images.run("wait", container, timeout=120).stdout.strip() == "2"
        assert "retriever/user.onnx" in images.run("logs", container).stderr
