"""Exploration: items are shown as often as their logged propensities state; a real predictor explores and logs."""

import collections

import httpx
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from components.shared.errors import InputError
from components.shared.telemetry.inference_log import Answered, LogReader
from components.shared.tests.waiting import eventually
from components.validate_serving.predictor import PredictorConfig, running
from serving.exploring import ExplorationConfig, ThompsonConfig, UniformConfig, explore, probabilities
from serving.shadow import HEADER

DRAWS = [UniformConfig(), ThompsonConfig()]


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.tuples(st.floats(0, 1), st.integers(0, 100_000)), min_size=1, max_size=30),
    st.integers(1, 12), st.sampled_from(DRAWS), st.text(max_size=10),
)  # fmt: skip
def test_only_the_last_position_is_explored_and_draws_are_reproducible(items, k, draw, request_id):
    score = np.sort(np.array([score for score, _ in items], np.float32))[::-1]
    buyers = np.array([buyers for _, buyers in items], np.float32)
    config = ExplorationConfig(share=0.3, draw=draw, pool=5)
    shown = explore(config, request_id, k, score, buyers)
    assert len(shown.positions) == len(shown.propensities) == min(k, len(score))
    assert shown.positions[:-1].tolist() == list(range(len(shown.positions) - 1))
    assert all(0 < chance <= 1 for chance in shown.propensities)
    again = explore(config, request_id, k, score, buyers)
    assert again.positions.tolist() == shown.positions.tolist() and again.propensities == shown.propensities


@pytest.mark.parametrize("draw", DRAWS, ids=lambda draw: type(draw).__name__)
def test_items_are_shown_as_often_as_their_propensities(draw):
    score = np.array([0.9, 0.5, 0.4, 0.35, 0.1], np.float32)
    buyers = np.array([50, 50, 5, 0, 0], np.float32)
    config = ExplorationConfig(share=0.5, draw=draw, pool=4)
    counts, propensities = collections.Counter(), {}
    for number in range(4_000):
        shown = explore(config, f"request-{number}", 2, score, buyers)
        counts[int(shown.positions[-1])] += 1
        propensities[int(shown.positions[-1])] = shown.propensities[-1]
    assert set(counts) == {1, 2, 3, 4} and sum(propensities.values()) == pytest.approx(1.0, abs=1e-6)
    for position, count in counts.items():
        spread = np.sqrt(propensities[position] * (1 - propensities[position]) / 4_000)
        assert abs(count / 4_000 - propensities[position]) < 4 * spread, position
    assert propensities[1] > 0.5, "the ranking's own choice keeps its share"


def test_thompson_sampling_draws_by_the_probability_of_being_the_best():
    score, buyers = np.array([0.30, 0.28, 0.10], np.float32), np.array([1_000, 0, 1_000], np.float32)
    found = probabilities(ThompsonConfig(), score, buyers)
    mean, strength = score.astype(np.float64), 10 + buyers.astype(np.float64)
    draws = np.random.default_rng(0).beta(mean * strength, (1 - mean) * strength, (200_000, 3))
    simulated = np.bincount(draws.argmax(1), minlength=3) / len(draws)
    np.testing.assert_allclose(found, simulated, atol=0.01)
    assert found[1] > 100 * found[2], "nobody knows the second yet; the third is known to be worse"


def test_equal_items_have_equal_probabilities():
    for buyers in (0, 1_000_000):
        found = probabilities(ThompsonConfig(), np.full(6, 0.2, np.float32), np.full(6, buyers, np.float32))
        np.testing.assert_allclose(found, 1 / 6, atol=1e-6)


def test_invalid_exploration_settings_are_refused():
    for share in (0.0, 1.0, -1.0):
        with pytest.raises(InputError, match="--explore is"):
            ExplorationConfig(share=share)
    with pytest.raises(InputError, match="--explore_pool is 1"):
        ExplorationConfig(share=0.1, pool=1)


@pytest.mark.slow
def test_a_predictor_explores_recommendations_and_logs_their_propensities(signed, tmp_path):
    flags = ("--inference_log", str(tmp_path), "--explore", "0.5", "--explore_by", "uniform", "--explore_pool", "5")
    requests = [{"user_id": "ann", "k": 5}, {"query": "milk", "k": 5}]
    with running(signed[0], PredictorConfig(further=flags)) as predictor:
        with httpx.Client(base_url=predictor.url, trust_env=False) as client:
            for number in range(60):
                response = client.post("/v1/models/shoprank:predict", json={"instances": [requests[number % 2]]},
                                   headers={"x-request-id": f"r{number}"})  # fmt: skip
                assert response.status_code == 200 and "propensities" not in response.text
            copied = {"x-request-id": "copied", HEADER: "1"}
            client.post("/v1/models/shoprank:predict", json={"instances": [requests[0]]}, headers=copied)
        eventually(lambda: len(list(LogReader(tmp_path).read())) >= 61)
    records = {record.request_id: record for record in LogReader(tmp_path).read() if isinstance(record, Answered)}
    assert records.pop("copied").propensities == (), "what a shadow would show is what it holds best"
    assert len(records) == 60
    recommended = [records[f"r{number}"] for number in range(0, 60, 2)]
    assert all(record.propensities[:-1] == (1.0,) * 4 for record in recommended)
    last = collections.Counter(record.items[-1] for record in recommended)
    chances = {record.items[-1]: record.propensities[-1] for record in recommended}
    assert len(last) > 1 and set(chances.values()) == {0.6, 0.1}
    assert chances[last.most_common(1)[0][0]] == pytest.approx(0.6)
    assert all(records[f"r{number}"].propensities == () for number in range(1, 60, 2)), "searches never explore"
