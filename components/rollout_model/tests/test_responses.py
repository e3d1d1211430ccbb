"""Clicks and purchases joined to answers by request_id; a request counts once its waiting time is over."""

import json

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from components.rollout_model.evidence import LogEvidence, Versions
from components.rollout_model.guards import Arm, GuardConfig, Interval, Metric, State
from components.rollout_model.judge import Judge
from components.rollout_model.responses import Responses
from components.rollout_model.run import evidence_at
from components.shared.errors import InputError
from components.shared.telemetry.inference_log import Answered, LogWriter


def answered(name, version, at):
    return Answered(time=at, request_id=name, version=version, outcome="ok", seconds=0.01, items=("a",))


def event(name, kind):
    return json.dumps({"request_id": name, "event_type": kind}) + "\n"


def test_request_counts_once_after_its_waiting_time(tmp_path):
    responses = Responses(tmp_path, wait_s=10)
    for name, version in (("r1", "a"), ("r2", "b"), ("r3", "b")):
        responses.answered(answered(name, version, 100.0))
    (tmp_path / "events.jsonl").write_text(event("r1", "view") + event("r1", "view") + event("other", "view"))
    assert responses.matured(105.0) == {}
    with (tmp_path / "events.jsonl").open("a") as stream:
        stream.write(event("r2", "purchase") + event("r2", "impression") + '{"request_id": "r3", "event')
    pq.write_table(pa.table({"request_id": ["r3", None], "event_type": ["cart", "view"]}), tmp_path / "more.parquet")
    assert responses.matured(110.0) == {
        "a": {"matured": 1, "clicks": 1, "purchases": 0}, "b": {"matured": 2, "clicks": 1, "purchases": 1},
    }  # fmt: skip
    with (tmp_path / "events.jsonl").open("a") as stream:
        stream.write('_type": "purchase"}\n')
    assert responses.matured(200.0) == {}, "too late"


def test_clicks_joined_to_the_inference_log_reach_the_judge(tmp_path):
    (tmp_path / "log").mkdir()
    (tmp_path / "events").mkdir()
    now = [1_000.0]
    responses = Responses(tmp_path / "events", wait_s=10)
    evidence = LogEvidence(tmp_path / "log", Versions("a", "b"), responses, clock=lambda: now[0])
    writer = LogWriter(tmp_path / "log", "pod")
    for number in range(600):
        writer.write(answered(f"r{number}", "ab"[number % 2], now[0]))
    writer.close()
    # Half of the champion's answers are clicked, and a tenth of the candidate's.
    clicked = [number for number in range(600) if (number // 2) % (2 if number % 2 == 0 else 10) == 0]
    (tmp_path / "events" / "e.jsonl").write_text("".join(event(f"r{number}", "view") for number in clicked))
    judge = Judge(GuardConfig(min_sample=10, min_duration_s=0))
    judge.start_step(0.5)
    first = evidence.read(1.0)
    assert (first.candidate.requests, first.candidate.matured, first.candidate.clicks) == (300, 0, 0)
    judge.observe(first)
    now[0] += 11
    second = evidence.read(1.0)
    assert (second.candidate.requests, second.candidate.matured, second.candidate.clicks) == (0, 300, 30)
    assert (second.champion.matured, second.champion.clicks) == (300, 150)
    guards = {guard.metric: guard for guard in judge.observe(second).guards}
    assert guards[Metric.CLICKS].state is State.HARM
    assert (guards[Metric.CLICKS].candidate_requests, guards[Metric.ERRORS].candidate_requests) == (300, 300)


def test_counts_of_matured_requests_are_checked():
    Arm(requests=0, errors=0, empty=0, slow=0, clicks=3, purchases=1, matured=5)
    with pytest.raises(InputError, match=r"Arm\.clicks is 6 of 5"):
        Arm(requests=10, errors=0, empty=0, slow=0, clicks=6, matured=5)
    arm = Arm(requests=10, errors=0, empty=0, slow=0)
    assert Interval(seconds=1, champion=arm, candidate=arm).champion.trials(Metric.CLICKS) == 10


def test_unreadable_events_and_invalid_options_are_refused(tmp_path):
    with pytest.raises(InputError, match="does not exist"):
        Responses(tmp_path / "none")
    with pytest.raises(InputError, match="the wait for clicks is 0"):
        Responses(tmp_path, wait_s=0)
    (tmp_path / "events.jsonl").write_text("{}\n")
    with pytest.raises(InputError, match=r"events\.jsonl at byte 0 is not a valid event"):
        Responses(tmp_path).matured(0)
    (tmp_path / "events.jsonl").unlink()
    (tmp_path / "bad.parquet").write_text("no parquet")
    with pytest.raises(InputError, match=r"bad\.parquet has no events"):
        Responses(tmp_path).matured(0)
    with pytest.raises(InputError, match=r"rollout.events is given without an inference log"):
        evidence_at("http://prometheus:9090", Versions("a", "b"), str(tmp_path))
