"""The check refuses parameters that a later step would refuse, before data is read, and reports all errors at once."""

import inspect
import json
import subprocess
import sys

import pytest

from components.check_parameters.component import check_parameters
from components.shared.errors import InputError
from components.shared.quantities import StepResources
from pipelines.catalog import catalog
from pipelines.training import training
from pipelines.tuning import tuning

GIVEN = {name: field.default for name, field in inspect.signature(check_parameters.python_func).parameters.items()}
UNCHECKED = {"source", "model_name", "registry", "items_source", "workers"}
"""Parameters that take any text, and the names of the tuning workers."""
SECTIONS = {name: value for name, value in GIVEN.items() if isinstance(value, dict)}
GUARDED = {"strategy": "guarded", "rollout": {"evidence": "http://prometheus:9090", "gateway": "shoprank"}}


def rollout(**options):
    return {**GUARDED, "rollout": {**GUARDED["rollout"], **options}}


WRONG = [
    ({"size": "huge"}, "size is 'huge'"),
    ({"gpus": "two"}, "gpus is 'two'"),
    ({"gpus": "-1"}, "gpus is '-1'"),
    ({"cpu": "eight"}, "cpu is 'eight'"),
    ({"memory": "32"}, "memory is '32'"),
    ({"data": {"mapping": [1]}}, "data.mapping is [1]"),
    ({"data": {"mapping": {"user": "visitor"}}}, "data: mapping: 'user' is not a column of the data contract"),
    ({"data": {"validation": {"orphan_error": 2}}}, "data.validation.orphan_error is 2"),
    ({"features": {"vocabulary": {"item_rows": -1}}}, "features.vocabulary.item_rows is -1"),
    ({"training": {"processes": 7}}, "processes is 7"),
    ({"training": {"nodes": 2}}, "training: nodes is 2 with launch=process"),
    ({"training": {"launch": "slurm"}}, "training.launch is 'slurm'"),
    ({"retriever": {"encoder": {"kind": "lstm"}}}, "retriever.encoder: kind is 'lstm'"),
    ({"retriever": {"loss": {"kind": "hinge"}}}, "retriever.loss: kind is 'hinge'"),
    ({"retriever": {"optimizer": {"rule": "lion"}}}, "retriever.optimizer.rule is 'lion'"),
    ({"retriever": {"hyperparameters": '{"model": "ranker", "values": {}}'}}, "hyperparameters: 'model' is 'ranker'"),
    ({"ranker": {"hyperparameters": "/nowhere/at/all"}}, "hyperparameters"),
    ({"ranker": {"architecture": {"heads": {"kind": "mmoe", "experts": 0}}}}, "ranker.architecture.heads.experts is 0"),
    ({"ranker": {"architecture": {"positions": 10}}}, "positions is 10"),
    ({"ranker": {"inference_log": "/logs"}}, "inference_log is /logs"),
    ({"ranker": {"hot_candidates": -1}}, "ranker.hot_candidates is -1"),
    ({"ranker": {"teacher": {"soft_label_weight": 2}}}, "ranker.teacher.soft_label_weight is 2"),
    (
        {"ranker": {"teacher": {}, "inference_log": "/logs", "architecture": {"positions": 10}}},
        "teacher and architecture.positions cannot be combined",
    ),
    ({"evaluation": {"rules": {"min_auc": 2}}}, "evaluation.rules.min_auc is 2"),
    ({"tuning": {"pruning": "hyperband"}}, "tuning.pruning is 'hyperband'"),
    ({"compile": {"table_format": "int2"}}, "compile.table_format is 'int2'"),
    ({"compile": {"dense_format": "int8", "runtime": "aotinductor"}}, "compile: dense_format is 'int8'"),
    ({"compile": {"limits": {"max_ndcg_los": 0.1}}}, "compile.limits.max_ndcg_los is not an option"),
    ({"compile": {"search": {"encoder": "/nowhere"}}}, "compile.search.encoder: '/nowhere' does not exist"),
    ({"compile": {"search": {"relevance": "/nowhere"}}}, "compile.search.relevance: '/nowhere' does not exist"),
    ({"release": {"lineage": {"run": 1}}}, "release.lineage.run is 1"),
    ({"release": {"publish": "ftp://models"}}, "release: publish is 'ftp://models'"),
    ({"release": {"backend": "seldon"}}, "release.backend is 'seldon'"),
    ({"release": {"mode": "Serverless"}}, "release.mode is 'Serverless'"),
    ({"release": {"storage": "/models"}}, "release: storage is '/models'"),
    ({"release": {"search": {"judgments": "/nowhere"}}}, "release.search.judgments: '/nowhere' does not exist"),
    ({"release": {"search": {"tolerance": 2}}}, "release.search.tolerance is 2"),
    ({"release": {"search": {"min_ndcg": "high"}}}, "release.search.min_ndcg is 'high'"),
    ({"strategy": "Guarded"}, "strategy is 'Guarded'"),
    (rollout(steps=[50, 20]), "rollout: steps are [50, 20]"),
    (rollout(guards={"alpha": 3}), "rollout.guards.alpha is 3"),
    (rollout(guards={"no_such": 3}), "rollout.guards.no_such is not an option"),
    (rollout(evidence=""), "rollout.evidence is empty"),
    (rollout(events="/events"), "rollout.events is given without an inference log"),
]


def check(**changes):
    check_parameters.python_func(**{**GIVEN, **changes})


def test_the_defaults_pass():
    check()
    assert {name: GIVEN[name] for name in StepResources.model_fields} == StepResources().to_json()


@pytest.mark.parametrize(("changes", "message"), WRONG, ids=lambda value: value if isinstance(value, str) else None)
def test_invalid_parameters_are_refused_by_their_path(changes, message):
    with pytest.raises(InputError) as raised:
        check(**changes)
    assert message in raised.value.headline and raised.value.fix


def test_valid_parameters_pass(tmp_path):
    found = {"model": "retriever", "values": {"optimizer.dense_lr": 0.01}}
    (tmp_path / "hyperparameters.json").write_text(json.dumps(found))
    check(
        retriever={
            "hyperparameters": str(tmp_path), "encoder": {"kind": "gru", "hidden_dim": 32},
            "loss": {"kind": "bpr", "source": {"kind": "hard"}}, "optimizer": {"rule": "adam"},
        },
        ranker={
            "architecture": {"heads": {"kind": "ple"}, "attention": None}, "hot_candidates": 20,
            "teacher": {"soft_label_weight": 0.3, "architecture": {"heads": {"kind": "mmoe"}}},
        },
        training={"processes": 2}, compile={"table_format": "int4", "limits": {"max_ndcg_loss": 0.05}},
        release={"lineage": {"commit": "abc"}, "publish": "oci:/images"},
        **rollout(steps=[10, 100], guards={"min_sample": 500}),
    )  # fmt: skip
    check(
        ranker={"architecture": {"positions": 10}, "inference_log": str(tmp_path)},
        release={"backend": "kserve", "storage": "s3://bucket/registry"},
    )


def test_judgments_of_the_release_are_read_before_anything_is_trained(tmp_path):
    judgments = tmp_path / "judgments.csv"
    gate = {"judgments": str(judgments), "relevant_grade": 2}
    for text, message in (
        ("query,item_id,grade\ntea,1,1\n", "has no item of grade 2 or more"),
        ("query\ntea\n", "has no item of grade 2 or more"), ("item_id,grade\n1,2\n", "have no column 'query'"),
    ):  # fmt: skip
        judgments.write_text(text)
        with pytest.raises(InputError, match=r"release\.search\.judgments: ") as raised:
            check(release={"search": gate})
        assert message in raised.value.headline and raised.value.fix
    judgments.write_text("query,item_id,grade\ntea,1,2\n")
    check(release={"search": gate})


def test_files_of_a_trainings_data_are_not_looked_for_without_events(tmp_path):
    data = {"items_source": str(tmp_path / "gone.csv"), "validation": {"previous_statistics": str(tmp_path / "gone")}}
    found = check_parameters.python_func(data=data)
    assert (found.ingest_events, found.validate_data) == ("", "")
    (tmp_path / "events.csv").write_text("user_id\n")
    with pytest.raises(InputError, match="items_source"):
        check_parameters.python_func(source=str(tmp_path / "events.csv"), data=data)


def test_errors_of_several_sections_are_reported_at_once():
    with pytest.raises(InputError) as raised:
        check(size="huge", compile={"table_format": "int2"}, strategy="canary", ranker={"hot_candidates": 5})
    first_words = [part.split()[0] for part in raised.value.headline.split("; ")]
    assert first_words == ["size", "compile.table_format", "strategy"]
    assert "direct, guarded" in raised.value.fix


@pytest.mark.parametrize("pipeline", [training, tuning, catalog], ids=lambda pipeline: pipeline.name)
def test_every_parameter_of_a_pipeline_is_checked_or_takes_any_text(pipeline):
    assert set(inspect.signature(pipeline.pipeline_func).parameters) - set(GIVEN) <= UNCHECKED


def test_the_check_imports_no_training_framework():
    code = f"""
import sys
from components.check_parameters.check import check_parameters
flat = {{"size": "small", "seed": 0, "strategy": "direct"}}
check_parameters(flat, {SECTIONS!r})
assert not {{"torch", "matplotlib", "kubernetes", "duckdb"}} & set(sys.modules)
"""
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.fixture
def pairs(tmp_path):
    """Two key pairs: paths of the private keys."""
    from components.shared.release.signing import create_key

    for name in ("ours.pem", "other.pem"):
        create_key(tmp_path / name)
    return tmp_path / "ours.pem", tmp_path / "other.pem"


def test_key_that_predictors_do_not_trust_is_named_before_anything_runs(pairs):
    ours, other = pairs
    check_parameters.python_func(signing_key=str(ours), public_key=f"{ours}.pub")
    with pytest.raises(InputError, match=r"the key .*ours\.pem .* does not belong to the public key .*other\.pem\.pub"):
        check_parameters.python_func(signing_key=str(ours), public_key=f"{other}.pub")
    with pytest.raises(InputError, match="cannot read the public key"):
        check_parameters.python_func(signing_key=str(ours), public_key=f"{ours}.none")


def test_public_half_of_the_secret_is_compared_where_the_private_key_is_not_mounted(pairs, monkeypatch):
    ours, other = pairs
    secret = "/etc/shoprank/signing/signing.pem"
    with pytest.raises(InputError, match=f"cannot read the signing key {secret}") as refused:
        check_parameters.python_func(signing_key=secret, public_key=f"{ours}.pub")
    assert "shoprank keys create" in refused.value.fix
    monkeypatch.setenv("SHOPRANK_SIGNING_PUBLIC_KEY", ours.with_name("ours.pem.pub").read_text())
    check_parameters.python_func(signing_key=secret, public_key=f"{ours}.pub")
    with pytest.raises(InputError, match=f"the key {secret} of the Secret .* does not belong to"):
        check_parameters.python_func(signing_key=secret, public_key=f"{other}.pub")
