"""What an answer costs, as the number of function calls, which no busy machine changes.

Between arrays it is Python that costs. A change that makes an answer dearer by a tenth has to change a number here.
"""

import sys

import pytest

from components.shared.recommender.recommender import Recommender
from serving.engine import Engine
from serving.protocol import parse_instance
from serving.tests.handmade import write_compiled

CALLS = {"remembered shopper": 1_045, "other shopper": 2_810, "search": 3_537, "each of sixteen": 1_094}
"""Calls of Python and C functions per answer of ten items, by CPython 3.11."""
_TOLERANCE = 0.1


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return write_compiled(tmp_path_factory.mktemp("calls") / "compiled")


def asks(**request):
    users = ("ann", "bob", "late", "silent") * 4
    return [parse_instance({"user_id": user, "k": 10, **request}) for user in users]


def calls_of(engine, instances):
    """Calls for an answer to some instances, after one that fills what is filled once."""
    names = [f"r{at}" for at in range(len(instances))]
    engine.answer(instances, names)
    count = 0

    def noted(_frame, event, _argument):
        nonlocal count
        count += event in ("call", "c_call")

    before = sys.getprofile()
    sys.setprofile(noted)
    try:
        engine.answer(instances, names)
    finally:
        sys.setprofile(before)
    return count


@pytest.mark.skipif(sys.version_info[:2] != (3, 11), reason="the numbers are those of CPython 3.11")
def test_calls_per_answer_have_not_grown(folder):
    recommender = Recommender.open(folder)
    remembering = Engine(recommender, "calls", "bundle")
    forgetful = Engine(recommender, "calls", "bundle", cache_bytes=0)
    found = {
        "remembered shopper": calls_of(remembering, asks()[:1]), "other shopper": calls_of(forgetful, asks()[:1]),
        "search": calls_of(forgetful, asks(query="oat milk")[:1]),
        "each of sixteen": calls_of(forgetful, asks()) / 16,
    }  # fmt: skip
    grown = {name: (found[name], most) for name, most in CALLS.items() if found[name] > most * (1 + _TOLERANCE)}
    assert not grown, "dearer than before (found, allowed): make it cheaper, or change CALLS and say why"
    shrunk = {name: (found[name], most) for name, most in CALLS.items() if found[name] < most * (1 - 2 * _TOLERANCE)}
    assert not shrunk, "cheaper than before (found, known): lower CALLS, so that it stays so"
