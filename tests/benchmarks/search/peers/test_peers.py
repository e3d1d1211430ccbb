"""The peers of the search benchmark on a tiny catalog: answers, choices, memory, and nothing left running."""

import sys
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from functools import partial

import numpy as np
import psutil
import pyarrow as pa
import pytest

from components.evaluate_search.catalog import SearchCatalog
from components.evaluate_search.config import SearchEvaluationOptions
from components.evaluate_search.judgments import read_judgments
from components.evaluate_search.measuring import measure, scored_queries
from components.evaluate_search.systems import PlainBm25
from tests.benchmarks.search.peers.asking import Peer, PeerSearch
from tests.benchmarks.search.peers.choosing import FOLDS, Choice, _levels, choose, fold
from tests.benchmarks.search.peers.servers import PeerMissing, made, started, told
from tests.benchmarks.search.peers.side_by_side import PEERS, Question, measure_peers, note_memory
from tests.benchmarks.search.relevance import Timed, table, timed
from tests.ports import free_port

TITLES = {
    "a1": "Laptop, 15 inch",
    "a2": "Running shoe",
    "a3": "Laptop bag",
    "a4": "Notebook of paper",
    "a5": "Laptop, 15 inch",
}
GRADES = {"laptop bag": {"a3": 3.0, "a1": 1.0, "a2": 0.0}, "shoe": {"a2": 3.0, "a4": 0.0}, "zebra": {"a1": 0.0}}


@pytest.fixture(scope="module")
def catalog():
    count = len(TITLES)
    return SearchCatalog("made", pa.table({
        "item_id": list(TITLES), "title": list(TITLES.values()), "brand": ["Acme"] * count,
        "description": ["sold by the piece"] * count,
        "attributes": pa.array([[("colour", "black")]] * count, pa.map_(pa.string(), pa.string())),
    }))  # fmt: skip


@pytest.fixture(scope="module")
def question(catalog, tmp_path_factory):
    file = tmp_path_factory.mktemp("judgments") / "judgments.csv"
    rows = [f"{query},{name},{grade}" for query, items in GRADES.items() for name, grade in items.items()]
    file.write_text("\n".join(["query,item_id,grade", *rows]))
    return Question(catalog, read_judgments(str(file), SearchEvaluationOptions()), 2.0)


@pytest.fixture(scope="module", params=PEERS, ids=lambda peer: peer.name)
def peer(request):
    return request.param


@pytest.fixture(scope="module")
def engine(peer, catalog):
    with ExitStack() as stack:
        try:
            engine = stack.enter_context(peer.running(catalog))
        except PeerMissing as missing:
            pytest.skip(f"{peer.name}: {missing}")
        before = psutil.Process().children()
        yield engine
    assert len(before) > 0 and not any(child.is_running() for child in before)


def test_a_peer_answers_from_its_index(peer, engine):
    search = PeerSearch(engine, lambda _: peer.chosen)
    assert search.search("laptop bag", 10)[0] == "a3"
    assert search.search("shoe", 1) == ["a2"]
    assert search.search("zebra", 10) == []
    assert len(search.search("acme", 10)) == 5
    assert engine.memory_mb() > 20 and engine.floor_ms() > 0 and engine.index_seconds > 0


def test_a_peer_ranks_the_given_items_alone(peer, engine):
    search = PeerSearch(engine, lambda _: peer.chosen)
    assert search.rank("15 inch", ["a2", "a1", "a5"]) == ["a1", "a5", "a2"]
    assert search.rank("zebra", ["a4", "a2"]) == ["a4", "a2"]
    assert search.rank("bag", ["a4", "a3"]) == ["a3", "a4"]


def test_every_way_of_a_peer_is_understood(peer, engine):
    for name, way in peer.ways.items():
        assert PeerSearch(engine, lambda _, way=way: way).search("laptop bag", 10)[0] == "a3", name
    assert peer.chosen in peer.ways.values()


class Made:
    """An engine that finds the right item in one way, and for one query in the other."""

    index_seconds = 1.0

    def __init__(self, odd: str = ""):
        self.odd = odd

    def ask(self, way, query, count, among=None):
        right = max(GRADES[query], key=GRADES[query].get)
        return [right] if way["right"] != (query == self.odd) else ["a4"]

    def memory_mb(self):
        return 7.0

    def floor_ms(self):
        return 0.5


def test_a_way_is_chosen_without_the_queries_it_is_chosen_for(question):
    ways = {("wrong",): {"right": False}, ("right",): {"right": True}}
    found = choose(Made(odd="shoe"), ways, question.judgments, question.catalog, question.relevant)
    assert fold("shoe") != fold("laptop bag") and len(found.of_fold) == FOLDS
    # Each query has what suits the other one.
    assert found.way("shoe") == ("right",) and found.way("laptop bag") == ("wrong",)
    assert f"Fitted: {found.best[0]}" in found.words()
    assert Choice((("x", ""),) * FOLDS, ("x", "")).way("new") == ("x", "")


def test_the_level_of_a_choice_is_its_mean_over_the_others():
    names = [("a", ""), ("a", "more"), ("b", ""), ("b", "more")]
    # The best single way is one of chance.
    assert _levels(names, np.array([0.9, 0.1, 0.6, 0.7])) == ("b", "")


@contextmanager
def running_made(catalog):
    yield Made()


def test_rows_of_peers_and_memory_are_in_the_table(question):
    made_peer = Peer(
        name="Made", running=running_made, chosen={"right": True}, words="rightly", ways={("right",): {"right": True}},
        setting="as it comes",
    )  # fmt: skip

    def missing(catalog):
        raise PeerMissing("there is no program made")

    systems = {name: timed(PlainBm25, question.catalog) for name in ("bm25s", "shoprank")}
    answers = measure(systems, question.judgments, question.catalog, question.relevant, lambda *_: None)
    scored = scored_queries(question.judgments, question.relevant)
    many = [0.001] * 30
    for one in systems.values():
        one.seconds += many
    assert "memory" not in table(systems, answers, scored)
    note_memory(systems, {"bm25s": partial(PlainBm25)}, question)
    assert systems["bm25s"].memory_mb is not None and 0 <= systems["bm25s"].memory_mb < 200
    peers = [made_peer, replace(made_peer, name="Other", running=missing)]
    notes = measure_peers(systems, answers, Timed, question, peers)
    for one in systems.values():
        one.seconds += many
    lines = table(systems, answers, scored).splitlines()
    rows = ["bm25s", "shoprank", "Made, fixed", "Made, cross-validated", "Made, fitted to these queries"]
    assert [line.split("|")[1].strip() for line in lines[2:]] == rows
    assert all(line.count("|") == 12 for line in lines) and lines[4].endswith("| 7 MB |")
    assert np.nanmean(answers["Made, fixed"].metrics["mrr"]) == 1.0
    assert notes.startswith("| nDCG@10, 95 % | shoprank minus it |") and notes.count("| Made, ") == 3
    assert "Other was not measured: there is no program made." in notes and "Fixed: rightly." in notes


def test_a_program_is_made_once_and_a_failure_leaves_nothing(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    with pytest.raises(PeerMissing, match="no program no-such-program"):
        made("one", lambda folder: told(["no-such-program"], folder) and None)
    with pytest.raises(PeerMissing, match="exit"):
        made("one", lambda folder: told([sys.executable, "-c", "import sys; sys.exit('exit')"], folder) and None)
    assert list((tmp_path / "shoprank" / "peers").iterdir()) == []
    times = []

    def make(folder):
        times.append(folder)
        (folder / "program").touch()
        # Somebody else makes the same meanwhile.
        (folder.with_name("one") / "other").mkdir(parents=True)

    for _ in range(2):
        assert [path.name for path in made("one", make).iterdir()] == ["other"]
    assert len(times) == 1 and not times[0].exists()


def test_a_server_that_ends_at_once_is_noticed(tmp_path):
    with started([sys.executable, "-c", "print('no room')"], free_port(), {}, tmp_path) as server:
        with pytest.raises(RuntimeError, match="did not start: no room"):
            server.wait(lambda http: http.get("/").is_success)
