"""Exploration, shadow log and events together estimate the rate of a candidate, on a shop with known rates."""

import tracemalloc

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from components.evaluate_model.logged import compare_logged, decisions
from components.shared.errors import DataError, InputError
from components.shared.telemetry.inference_log import Answered, line_of
from serving.exploring import ExplorationConfig, UniformConfig, explore

ITEMS = 12
SCHEMA = pa.schema([("request_id", pa.string()), ("item_id", pa.string()), ("event_type", pa.string())])


def shop(folder, requests=6_000, share=0.5, seed=0, reordered=0.0):
    """Champion and candidate differ at the last position only; returns the true purchase rates there.

    In a share `reordered` of the requests, the candidate shows the same items in another order, apart from the drawn
    one; these requests do not count in the rates.
    """
    random = np.random.default_rng(seed)
    config = ExplorationConfig(share=share, draw=UniformConfig(), pool=6)
    bought, truth, lines = [], {"champion": [], "candidate": []}, []
    for number in range(requests):
        order, rate = random.permutation(ITEMS), random.uniform(0.02, 0.4, ITEMS)
        request = f"r{number}"
        score = np.linspace(0.9, 0.1, ITEMS).astype(np.float32)
        shown = explore(config, request, 5, score[:10], np.zeros(10, np.float32))
        items = tuple(f"i{order[position]}" for position in shown.positions)
        # The candidate is better: last it shows the best of the champion's next items.
        best = max(range(4, 10), key=lambda position: rate[order[position]])
        swapped = number < reordered * requests
        wanted = (*items[1:4], f"i{order[4]}", items[0]) if swapped else (*items[:4], f"i{order[best]}")
        fields = {"time": 1.0, "request_id": request, "outcome": "ok", "seconds": 0.1}
        lines.append(line_of(Answered(**fields, version="one", items=items, propensities=shown.propensities)))
        lines.append(line_of(Answered(**fields, version="two", items=wanted, shadow=True)))
        if not swapped:
            truth["champion"].append(rate[int(items[-1][1:])])
            truth["candidate"].append(rate[order[best]])
        if random.random() < rate[int(items[-1][1:])]:
            bought.append({"request_id": request, "item_id": items[-1], "event_type": "purchase"})
        bought.append({"request_id": request, "item_id": items[0], "event_type": "purchase"})
        bought.append({"request_id": None, "item_id": items[-1], "event_type": "purchase"})
    (folder / "log").mkdir()
    (folder / "log" / "one.jsonl").write_text("".join(lines))
    (folder / "events").mkdir()
    pq.write_table(pa.Table.from_pylist(bought, SCHEMA), folder / "events" / "part.parquet")
    return {name: float(np.mean(rates)) for name, rates in truth.items()}


def test_candidate_rate_is_estimated_without_giving_it_traffic(tmp_path):
    truth = shop(tmp_path)
    found = compare_logged(tmp_path / "log", "two", tmp_path / "events")
    assert found.decisions == 6_000
    assert found.champion == pytest.approx(truth["champion"], abs=0.02)
    for estimate in (found.candidate_ips, found.candidate_snips, found.candidate_dr):
        assert estimate.low - 0.01 <= truth["candidate"] <= estimate.high + 0.01
        assert estimate.low > found.champion, "the better model is seen to be better"
    assert 200 < found.candidate_snips.effective_samples < 3_000
    assert compare_logged(tmp_path / "log", "two", tmp_path / "events", "view").champion == 0.0


def test_requests_whose_last_item_the_champion_could_not_draw_are_excluded(tmp_path):
    """A good candidate that orders the same items differently must not look like a bad one."""
    truth = shop(tmp_path, reordered=0.5)
    found = compare_logged(tmp_path / "log", "two", tmp_path / "events")
    assert (found.decisions, found.excluded, found.share) == (3_000, 3_000, 0.5)
    assert found.champion == pytest.approx(truth["champion"], abs=0.02)
    for estimate in (found.candidate_ips, found.candidate_snips, found.candidate_dr):
        assert estimate.low - 0.01 <= truth["candidate"] <= estimate.high + 0.01
        assert estimate.low > found.champion, "half of the requests would count as nothing otherwise"


def write_log(folder, answers):
    """Write answers by request: (champion's items, their propensities, candidate's items); item c of r0 is bought."""
    folder.mkdir(exist_ok=True)
    fields = {"time": 1.0, "outcome": "ok", "seconds": 0.1}
    with (folder / "one.jsonl").open("w") as stream:
        for request, (items, propensities, wanted) in answers:
            explored = Answered(**fields, request_id=request, version="one", items=items, propensities=propensities)
            shadow = Answered(**fields, request_id=request, version="two", items=wanted, shadow=True)
            stream.writelines((line_of(explored), line_of(shadow)))
    events = [{"request_id": "r0", "item_id": "c", "event_type": "purchase"}]
    pq.write_table(pa.Table.from_pylist(events, SCHEMA), folder / "events.parquet")
    return folder, folder / "events.parquet"


def test_answers_that_cannot_be_compared_are_excluded_and_counted(tmp_path):
    given = ("a", "b", "c"), (1.0, 1.0, 0.5)
    answers = {"r0": (*given, ("b", "a", "c")), "r1": (*given, ("a", "c")), "r2": (*given, ("a", "b", "d", "c")),
               "r3": (*given, ("c", "d", "a"))}  # fmt: skip
    log, events = write_log(tmp_path / "log", answers.items())
    found = decisions(log, "two", events, "purchase")
    assert (found.request_id, found.excluded) == (["r0"], 3)
    assert (found.item_id, found.candidate, found.propensity.tolist(), found.reward.tolist()) == (
        ["c"], ["c"], [0.5], [1.0]
    )  # fmt: skip
    log, events = write_log(tmp_path / "log", [(name, answers[name]) for name in ("r1", "r3")])
    with pytest.raises(DataError, match="none of 2 requests can be compared"):
        compare_logged(log, "two", events)


def test_only_the_last_position_of_an_answer_is_kept_in_memory(tmp_path):
    """Two long answers per request take 10 kB; the comparison needs two ids and a number."""
    requests, length = 1_000, 60
    items = tuple(f"item-{position:05}" for position in range(length))
    propensities = (*(1 - 1e-9 * position for position in range(length - 1)), 0.5)
    answers = ((f"request-{number:06}", (items, propensities, items)) for number in range(requests))
    log, events = write_log(tmp_path / "log", answers)
    tracemalloc.start()
    try:
        assert len(decisions(log, "two", events, "purchase").reward) == requests
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 1_000 * requests + 1_000_000, f"{peak / requests:,.0f} bytes a request"


def test_logs_without_shadow_answers_or_propensities_are_refused(tmp_path):
    shop(tmp_path, requests=20)
    with pytest.raises(DataError, match="no copy of them was answered by three"):
        compare_logged(tmp_path / "log", "three", tmp_path / "events")
    with pytest.raises(InputError, match=r"events .*nowhere"):
        compare_logged(tmp_path / "log", "two", tmp_path / "nowhere")
    fields = {"time": 1.0, "request_id": "r1", "outcome": "ok", "seconds": 0.1, "items": ("a", "b")}
    plain = tmp_path / "plain"
    plain.mkdir()
    (plain / "one.jsonl").write_text(line_of(Answered(**fields, version="one")))
    with pytest.raises(DataError, match="no answer has propensities"):
        compare_logged(plain, "two", tmp_path / "events")
    exploring = Answered(**fields, version="two", shadow=True, propensities=(1.0, 0.5))
    (plain / "two.jsonl").write_text(line_of(exploring))
    with pytest.raises(DataError, match="two explored although it was a shadow"):
        compare_logged(plain, "two", tmp_path / "events")


def test_counterfactual_command_prints_rates_and_intervals(tmp_path, capsys):
    from pipelines.cli.counterfactual import counterfactual

    shop(tmp_path, requests=500, reordered=0.2)
    counterfactual(tmp_path / "log", "two", tmp_path / "events")
    text = capsys.readouterr().out
    assert "400 explored answers; purchase rate of the item at the last position:" in text
    assert "100 of 500 left out, 80.0 % remain" in text
    assert "champion" in text and "candidate, IPS" in text and "candidate, DR" in text and "effective samples" in text
