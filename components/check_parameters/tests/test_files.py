"""The files that steps read are fingerprinted before the steps, each for the step that reads it."""

import json

import pytest

from components.check_parameters.component import check_parameters
from components.shared.errors import InputError


@pytest.fixture
def files(tmp_path):
    for name in ("events.csv", "items.csv", "users.csv", "statistics.json", "log/a.jsonl"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("x")
    for model in ("retriever", "ranker"):
        (tmp_path / f"{model}.json").write_text(json.dumps({"model": model, "values": {}}))
    return tmp_path


def checked(folder, **changes):
    data = {
        "items_source": f"{folder}/items.csv", "users_source": f"{folder}/users.csv",
        "validation": {"previous_statistics": f"{folder}/statistics.json"},
    }  # fmt: skip
    ranker = {
        "hyperparameters": f"{folder}/ranker.json", "inference_log": f"{folder}/log",
        "architecture": {"positions": 10},
    }  # fmt: skip
    given = {
        "source": f"{folder}/events.csv", "data": data, "ranker": ranker,
        "retriever": {"hyperparameters": f"{folder}/retriever.json"}, "size": "tiny",
    }  # fmt: skip
    return check_parameters.python_func(**{**given, **changes})


@pytest.mark.parametrize(
    ("file", "step"),
    [
        ("events.csv", "ingest_events"), ("items.csv", "ingest_events"), ("users.csv", "ingest_events"),
        ("statistics.json", "validate_data"), ("retriever.json", "train_retriever"),
        ("ranker.json", "train_ranker"), ("log/a.jsonl", "train_ranker"),
    ],
)  # fmt: skip
def test_a_changed_file_changes_the_fingerprint_of_its_step_only(files, file, step):
    before = checked(files)
    assert checked(files) == before and all(before)
    path = files / file
    path.write_text(path.read_text() + " ")
    after = checked(files)._asdict()
    assert {name for name, value in before._asdict().items() if after[name] != value} == {step}


def test_no_files_have_no_fingerprint(files):
    tuned = json.dumps({"model": "retriever", "values": {}})
    found = checked(files, data={}, ranker={}, retriever={"hyperparameters": tuned}, source="complete-journey")
    assert found._asdict() == {
        "ingest_events": "0.1.0", "validate_data": "", "train_retriever": "", "train_ranker": "",
    }  # fmt: skip
    assert not any(check_parameters.python_func())


@pytest.mark.parametrize(
    ("changes", "option"),
    [
        ({"source": "/none/events"}, "source"),
        ({"data": {"users_source": "/none/users"}}, "data.users_source"),
        ({"data": {"validation": {"previous_statistics": "/none/s"}}}, "data.validation.previous_statistics"),
    ],
)
def test_missing_files_are_named_by_their_option(files, changes, option):
    with pytest.raises(InputError, match=f"{option}: '/none/.*' does not exist"):
        checked(files, **changes)
