"""The parameter check: what a later step would refuse is refused before anything is read, all parts' faults at once."""

import inspect
import json
import subprocess
import sys

import pytest

from components.check_parameters.component import check_parameters
from components.shared.errors import InputError
from pipelines.training import training

DEFAULTS = {name: field.default for name, field in inspect.signature(training.pipeline_func).parameters.items()}
GIVEN = {name: DEFAULTS[name] for name in inspect.signature(check_parameters.python_func).parameters}
UNREAD = {
    "source", "items_source", "users_source", "previous_statistics", "item_hash_rows", "item_rows", "user_rows",
    "checkpoints", "exchange", "gpus", "node_gpus", "refit", "signing_key", "max_p99_ms", "max_memory_mb",
}  # fmt: skip
"""What the first steps themselves read, and what takes any value."""
GUARDED = {"strategy": "guarded", "evidence": "http://prometheus:9090"}
KSERVE = {"backend": "kserve"}

WRONG = [
    ({"size": "huge"}, "size is 'huge'"),
    ({"mapping": "[1]"}, "mapping"),
    ({"processes": 7}, "retriever: processes is 7"),
    ({"nodes": 2}, "nodes is 2 with launch=process"),
    ({"launch": "slurm"}, "launch is 'slurm'"),
    ({"encoder": '{"kind": "LstmConfig"}'}, "encoder"),
    ({"encoder": '{"kind": "GruConfig", "hidden_dim": 0}'}, "hidden_dim is 0"),
    ({"loss": '{"kind": "Hinge"}'}, "loss"),
    ({"retriever_optimizer": '{"rule": "lion"}'}, "retriever: optimizer"),
    ({"ranker_optimizer": '{"dense_lr": -1}'}, "ranker: optimizer"),
    ({"retriever_hyperparameters": '{"model": "ranker", "values": {}}'}, "retriever: hyperparameters"),
    ({"ranker_hyperparameters": "/nowhere/at/all"}, "ranker: hyperparameters"),
    ({"architecture": '{"heads": {"kind": "MmoeConfig", "experts": 0}}'}, "experts is 0"),
    ({"architecture": '{"places": 10}'}, "places is 10"),
    ({"inference_log": "/logs"}, "inference_log is /logs"),
    ({"hot_candidates": -1}, "hot"),
    ({"teacher": '{"share": 2}'}, "teacher: share"),
    ({"teacher": "{}", "inference_log": "/logs", "architecture": '{"places": 10}'}, "there is a teacher"),
    ({"precision": "int2"}, "precision is 'int2'"),
    ({"dense_precision": "int8", "runtime": "aotinductor"}, "dense_precision is 'int8'"),
    ({"limits": '{"max_ndcg_los": 0.1}'}, "max_ndcg_los"),
    ({"lineage": '{"run": 1}'}, "lineage"),
    ({"publish": "ftp://models"}, "publish"),
    ({"strategy": "Guarded"}, "strategy is 'Guarded'"),
    ({"backend": "seldon"}, "backend is 'seldon'"),
    ({**KSERVE, "mode": "Serverless"}, "mode is 'Serverless'"),
    ({**KSERVE, "storage": "/models"}, "storage is '/models'"),
    ({**GUARDED, "steps": "50,20"}, "steps"),
    ({**GUARDED, "guards": '{"alpha": 3}'}, "alpha"),
    ({**GUARDED, "guards": '{"no_such": 3}'}, "no_such"),
    ({**GUARDED, "evidence": ""}, "evidence"),
    ({**GUARDED, "events": "/events"}, "events"),
]


def check(**changes):
    check_parameters.python_func(**{**GIVEN, **changes})


def test_the_defaults_pass():
    check()


@pytest.mark.parametrize(("changes", "named"), WRONG, ids=lambda value: value if isinstance(value, str) else None)
def test_what_cannot_be_is_refused_by_its_name(changes, named):
    with pytest.raises(InputError) as raised:
        check(**changes)
    assert named in raised.value.headline and raised.value.mend


def test_what_can_be_passes(tmp_path):
    found = {"model": "retriever", "values": {"optimizer.dense_lr": 0.01}}
    (tmp_path / "hyperparameters.json").write_text(json.dumps(found))
    check(
        retriever_hyperparameters=str(tmp_path),
        encoder='{"kind": "GruConfig", "hidden_dim": 32}', loss='{"kind": "Bpr", "source": {"kind": "Hard"}}',
        retriever_optimizer='{"rule": "adam"}', architecture='{"heads": {"kind": "PleConfig"}, "attention": null}',
        hot_candidates=20, teacher='{"share": 0.3, "architecture": {"heads": {"kind": "MmoeConfig"}}}', processes=2,
        precision="int4", limits='{"max_ndcg_loss": 0.05}', lineage='{"commit": "abc"}', publish="oci:/images",
        steps="10,100", guards='{"min_sample": 500}', **GUARDED,
    )  # fmt: skip
    check(architecture='{"places": 10}', inference_log="/logs", **KSERVE, storage="s3://bucket/registry")


def test_the_faults_of_several_parts_are_told_at_once():
    with pytest.raises(InputError) as raised:
        check(size="huge", precision="int2", strategy="canary", hot_candidates=5)
    assert [part.split()[0] for part in raised.value.headline.split("; ")] == ["size", "precision", "strategy"]
    assert "direct, guarded" in raised.value.mend


def test_every_parameter_of_the_pipeline_is_read_or_known_to_need_no_check():
    assert set(DEFAULTS) - set(GIVEN) == UNREAD


def test_a_run_with_the_defaults_imports_nothing_that_is_slow():
    code = f"""
import sys
from components.check_parameters.check import check_parameters
check_parameters({GIVEN!r})
assert not {{"torch", "scipy", "matplotlib", "kubernetes"}} & set(sys.modules)
"""
    subprocess.run([sys.executable, "-c", code], check=True)
