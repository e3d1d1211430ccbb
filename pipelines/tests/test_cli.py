"""The `shoprank` command, as a separate process or as a call of main()."""

import fcntl
import functools
import json
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import ClassVar

import pytest

from components.validate_serving.predictor import PredictorConfig, running
from pipelines import submitting
from serving.tests.handmade import write_bundle


def run_command(*arguments, cwd=None, timeout=120):
    command = [sys.executable, "-c", "from pipelines.cli.app import main; main()", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=timeout, cwd=cwd, check=False)


def test_missing_data_stops_the_run_with_the_error_of_the_stage(tmp_path):
    done = run_command("run", "training", "--size", "tiny", "--data", tmp_path / "nothing", "--out", tmp_path / "out")
    assert done.returncode == 1 and "does not exist" in done.stderr and "fix:" in done.stderr
    assert "Traceback" not in done.stderr + done.stdout
    assert not list((tmp_path / "out").glob("runs/*/run.json"))
    assert not (tmp_path / "out" / "registry").exists()


def test_second_run_in_the_same_folder_is_refused(shoprank, tmp_path):
    with (tmp_path / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        done = shoprank("run", "training", "--size", "tiny", "--out", tmp_path)
    assert done.code == 2 and "another run is using this folder" in done.err


def test_ask_without_a_server_names_the_url(shoprank, tmp_path):
    done = shoprank("ask", "--url", "http://127.0.0.1:9", "--user", "1")
    assert done.code == 1 and "--url http://127.0.0.1:9" in done.err and "shoprank serve" in done.err


def test_serve_of_a_folder_without_a_model_is_refused(shoprank, tmp_path):
    done = shoprank("serve", tmp_path / "out")
    assert done.code == 2 and f"{tmp_path / 'out'} contains neither a bundle nor a registry" in done.err
    assert "shoprank run training" in done.err


def test_ask_shows_the_answer_and_its_explanation(shoprank, tmp_path):
    bundle = write_bundle(tmp_path / "bundle", tmp_path / "key.pem")
    with running(bundle, PredictorConfig(clock="auto")) as predictor:
        plain = run_command("ask", "--url", predictor.url, "--user", "ann", "--k", 2)
        explained = shoprank("ask", "--url", predictor.url, "--user", "ann", "--k", 2, "--explain")
        assert "clock: bundle, because the bundle's data ended on 2023-11-14" in predictor.log.read_text()
    assert plain.returncode == 0, plain.stderr
    assert "Oat milk 1L" in plain.stdout and "as of 2023-11-14T22:13:20Z" in plain.stdout
    assert explained.code == 0, explained.err
    first = json.loads(explained.out)["items"][0]
    assert first["item_id"] == "oat" and first["contributions"]["own history with the item"] > 0


class _Kfp(BaseHTTPRequestHandler):
    """The responses of the KFP API that kfp.Client needs to create a run."""

    runs: ClassVar[list[dict]] = []
    states: ClassVar[list[str]] = []

    def _answer(self, body: dict) -> None:
        text = json.dumps(body).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    def do_GET(self):
        if "/runs/" in self.path:
            state = self.states.pop(0)
            return self.send_error(503) if state == "away" else self._answer({"run_id": "r1", "state": state})
        self._answer({"experiments": [{"experiment_id": "e1", "display_name": "shoprank"}]}
                     if "experiments" in self.path else {"multi_user": False})  # fmt: skip

    def do_POST(self):
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        if self.path.endswith("/runs"):
            self.runs.append(body)
        self._answer({"run_id": "r1", "experiment_id": "e1", "display_name": "x"})

    def log_message(self, *_):
        pass


def test_submit_sends_both_documents_and_the_arguments():
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Kfp)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        host = f"http://127.0.0.1:{server.server_port}"
        done = run_command("submit", "training", "--host", host, "--set", "size=tiny", "--set", "seed=7",
                       "--set", "ranker.hot_candidates=20", "--set", "gpus='2'")  # fmt: skip
        assert done.returncode == 0, done.stderr
        assert f"{host}/#/runs/details/r1" in done.stdout
    finally:
        server.shutdown()
        server.server_close()
    sent = _Kfp.runs[-1]
    assert sent["runtime_config"]["parameters"] == {
        "size": "tiny", "seed": 7, "ranker": {"hot_candidates": 20}, "gpus": "2",
    }  # fmt: skip
    assert set(sent["pipeline_spec"]) == {"pipeline_spec", "platform_spec"}
    assert sent["pipeline_spec"]["pipeline_spec"]["pipelineInfo"]["name"] == "shoprank-training"


@pytest.mark.parametrize(("end", "code"), [("SUCCEEDED", 0), ("FAILED", 1)])
def test_submit_waits_for_the_end_despite_a_server_error(shoprank, monkeypatch, end, code):
    monkeypatch.setattr(submitting, "Submission", functools.partial(submitting.Submission, poll_s=0.01))
    _Kfp.states[:] = ["PENDING", "away", "RUNNING", end]
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Kfp)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        done = shoprank("submit", "training", "--host", f"http://127.0.0.1:{server.server_port}", "--wait")
    finally:
        server.shutdown()
        server.server_close()
    assert done.code == code, done.err
    states = ["PENDING", "RUNNING", end]
    assert [state for state in states if f"run r1: {state}" in done.out] == states
    assert code == 0 or "run r1 ended as FAILED" in done.err


def test_submit_to_an_unreachable_host_names_it(shoprank):
    done = shoprank("submit", "training", "--host", "http://127.0.0.1:9")
    assert done.code == 1 and "--host http://127.0.0.1:9" in done.err and "fix:" in done.err
    assert "Traceback" not in done.err
