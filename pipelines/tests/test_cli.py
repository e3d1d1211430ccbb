"""The `shoprank` command, as a separate process or as a call of main()."""

import fcntl
import json
import subprocess
import sys

import pytest

from components.validate_serving.predictor import PredictorConfig, running
from pipelines.compiling import COMPILED
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


UNKNOWN = '{"shopper": "visitor"}'


@pytest.mark.parametrize(
    ("content", "headline", "fix"),
    [
        (b"\xef\xbb\xbf" + UNKNOWN.encode(), "mapping: 'shopper' is not a column of the data contract", "user_id"),
        (b'["user_id"]', "--mapping map.json is a list, not an object", '{"user_id": "visitor"}'),
        (b"null", "--mapping map.json is None, not an object", '{"user_id": "visitor"}'),
        (b"user_id: visitor", "--mapping map.json is not JSON: Expecting value", '{"user_id": "visitor"}'),
        (b"", "--mapping map.json is not JSON: Expecting value", '{"user_id": "visitor"}'),
        (UNKNOWN.encode("utf-16"), "--mapping map.json is not UTF-8: invalid start byte at byte 0", "UTF-8"),
    ],
)
def test_mapping_file_is_read_with_a_byte_order_mark_and_else_refused_by_name(
    shoprank, tmp_path, monkeypatch, content, headline, fix
):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "map.json").write_bytes(content)
    done = shoprank("run", "training", "--mapping", "map.json")
    assert done.code == 2 and headline in done.err and fix in done.err
    assert [path.name for path in tmp_path.iterdir()] == ["map.json"]


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
        like = shoprank("ask", "--url", predictor.url, "--similar-to", "oat", "--diversity", 0.2, "--k", 3)
        bought = shoprank("ask", "--url", predictor.url, "--bought-with", "oat", "--bought-with", "box", "--json")
        both = shoprank("ask", "--url", predictor.url, "--similar-to", "oat", "--query", "milk")
        assert "clock: bundle, because the bundle's data ended on 2023-11-14" in predictor.log.read_text()
    assert plain.returncode == 0, plain.stderr
    assert "Oat milk 1L" in plain.stdout and "as of 2023-11-14T22:13:20Z" in plain.stdout
    assert "similar to oat, diversity 0.2" in like.out and "similar to Oat milk 1L" in like.out
    assert [item["item_id"] for item in json.loads(bought.out)["items"]] == ["snack0"]
    assert both.code == 2 and "similar_to" in both.err
    assert explained.code == 0, explained.err
    first = json.loads(explained.out)["items"][0]
    assert first["item_id"] == "oat" and first["contributions"]["own history with the item"] > 0


def test_ask_sorts_counts_pages_and_suggests(shoprank, tmp_path):
    bundle = write_bundle(tmp_path / "bundle", tmp_path / "key.pem")
    with running(bundle, PredictorConfig(clock="auto")) as predictor:
        request = ("ask", "--url", predictor.url, "--query", "milk", "--sort", "-price", "--k", 2)
        first = shoprank(*request, "--facet", "brand", "--facet", "price")
        assert "brand: FarmCo (1), Oatly (1), 燕麦 (1)" in first.out and "price: 1.19 to 1.19 (1)" in first.out
        assert first.out.index("Oat milk 1L") < first.out.index("燕麦奶 1L") and "2 of 3 items" in first.out
        cursor = first.out.partition("--cursor ")[2].split()[0]
        last = shoprank(*request, "--cursor", cursor)
        assert "Whole milk 1L" in last.out and "--cursor" not in last.out
        refused = shoprank("ask", "--url", predictor.url, "--cursor", cursor)
        assert refused.code == 2 and "instances[0].cursor" in refused.err
        suggested = shoprank("ask", "--url", predictor.url, "--suggest", "o", "--user", "ann")
        assert "Oatly" in suggested.out and "brand, your own" in suggested.out
        assert "燕麦" in shoprank("ask", "--url", predictor.url, "--suggest", "燕").out


def test_lint_says_what_the_kubernetes_native_form_needs(shoprank):
    native, plain = COMPILED / "tuning.kubernetes.yaml", COMPILED / "tuning.yaml"
    done = shoprank("lint", native, plain)
    assert done.code == 0 and f"{native}: note:" in done.out and "Pipeline CRDs" in done.out
    assert f"{plain}: note:" not in done.out and "\n2 files, 0 findings\n" in done.out
    assert shoprank("lint", plain).out == "1 file, 0 findings\n"
    assert json.loads(shoprank("lint", native, "--json").out) == {"files": 1, "findings": []}
