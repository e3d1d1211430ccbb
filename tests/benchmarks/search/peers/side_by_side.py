"""Measures the peers like the systems of this process, and everybody's memory."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol, TypeVar

import numpy as np

from components.evaluate_search.catalog import SearchCatalog
from components.evaluate_search.config import SearchEvaluationOptions
from components.evaluate_search.judgments import Judgments
from components.evaluate_search.measuring import DEPTH, Answers, measure, scored_queries
from components.shared.evaluation.bootstrap import intervals
from components.shared.evaluation.search_systems import SearchSystem
from tests.benchmarks.search.peers.asking import Engine, Peer, PeerSearch
from tests.benchmarks.search.peers.choosing import FOLDS, Choice, choose
from tests.benchmarks.search.peers.memory import Build, growth_mb
from tests.benchmarks.search.peers.opensearch import OPENSEARCH
from tests.benchmarks.search.peers.servers import PeerMissing
from tests.benchmarks.search.peers.typesense import TYPESENSE

PEERS = (OPENSEARCH, TYPESENSE)
_OURS = "shoprank"
_WARM_ROUNDS = 20


class Noted(SearchSystem, Protocol):
    """A system with what is noted of it.

    Attributes:
        memory_mb: Resident memory, if it was measured.
    """

    memory_mb: float | None


_Noted = TypeVar("_Noted", bound=Noted)
Note = Callable[[SearchSystem, float], _Noted]
"""Takes a system and the time to index."""


@dataclass(frozen=True)
class Question:
    """What is measured.

    Attributes:
        catalog: Items. judgments: Of items of the catalog. relevant: Lowest grade of a relevant item.
    """

    catalog: SearchCatalog
    judgments: Judgments
    relevant: float


def note_memory(systems: Mapping[str, Noted], builds: Mapping[str, Build], question: Question) -> None:
    """Measure the memory of the systems of this process, each built again in a process of its own."""
    for name, build in builds.items():
        systems[name].memory_mb = growth_mb(build, question.catalog, list(question.judgments.grades))


def measure_peers(
    systems: dict[str, _Noted], answers: dict[str, Answers], note: Note[_Noted], question: Question,
    peers: Sequence[Peer] = PEERS,
) -> str:  # fmt: skip
    """Measure every peer that can be had, one after the other.

    Args:
        systems: The peers are added to it. answers: Of the systems; those of the peers are added.
        note: Wraps a peer. question: What is measured. peers: See PEERS.

    Returns:
        Paragraphs: the differences to ours, and how the peers were set.
    """
    before = list(answers)
    words = [_FAIRNESS]
    for peer in peers:
        try:
            chosen = _choice(peer, question)
            # Started anew, because the many queries of the choice would count as memory.
            with peer.running(question.catalog) as engine:
                rows, floor = _rows(peer, chosen, engine, question), engine.floor_ms()
                noted = {name: note(system, engine.index_seconds) for name, system in rows.items()}
                answers |= measure(noted, question.judgments, question.catalog, question.relevant, lambda *_: None)
                for one in noted.values():
                    one.memory_mb = engine.memory_mb()
                systems |= noted
        except PeerMissing as missing:
            words.append(f"{peer.name} was not measured: {missing}.")
            continue
        words.append(
            f"{peer.name}: {peer.setting}; an empty request takes {floor:.2f} ms. Fixed: {peer.words}. "
            f"Cross-validated, of {len(peer.ways)}: {chosen.words()}."
        )
    return "\n\n".join([_differences(before, answers, question), *words, ""])


def _differences(before: Sequence[str], answers: Mapping[str, Answers], question: Question) -> str:
    """A table of nDCG@10 of ours minus that of each peer, paired by query."""
    scored = scored_queries(question.judgments, question.relevant)
    ours, peers = [name for name in before if name.startswith(_OURS)], [name for name in answers if name not in before]
    lines = [
        " | ".join(["| nDCG@10, 95 %", *(f"{name} minus it" for name in ours)]) + " |",
        "|---" * (1 + len(ours)) + "|",
    ]
    ndcg = {name: found.metrics["ndcg_at_10"][scored] for name, found in answers.items()}
    for peer in peers:
        gains = np.stack([ndcg[name] - ndcg[peer] for name in ours], 1)
        found = intervals(gains, SearchEvaluationOptions().bootstrap)
        lines.append(
            " | ".join([f"| {peer}", *(f"{one.mean:+.4f} [{one.low:+.4f}, {one.high:+.4f}]" for one in found)]) + " |"
        )
    return "\n".join(lines) if ours and peers else ""


def _choice(peer: Peer, question: Question) -> Choice:
    with peer.running(question.catalog) as engine:
        return choose(engine, peer.ways, question.judgments, question.catalog, question.relevant)


def _rows(peer: Peer, chosen: Choice, engine: Engine, question: Question) -> dict[str, PeerSearch]:
    """The rows of a peer; their searches are warm."""
    rows = {
        f"{peer.name}, fixed": PeerSearch(engine, lambda _: peer.chosen),
        f"{peer.name}, cross-validated": PeerSearch(engine, lambda query: peer.ways[chosen.way(query)]),
        f"{peer.name}, fitted to these queries": PeerSearch(engine, lambda _: peer.ways[chosen.best]),
    }
    for _ in range(_WARM_ROUNDS):
        for row in rows.values():
            for query in question.judgments.grades:
                row.search(query, DEPTH)
    return rows


_FAIRNESS = (
    "The peers index the texts of title, brand, description and attributes that shoprank indexes. They are asked over "
    "HTTP on 127.0.0.1 by one client, warm; the others answer inside the measuring process, so their times have no "
    "request in them. Memory: of a peer the resident memory of its server after indexing and queries; of the others "
    "how much a process that holds code and catalog grows by index and queries. fixed: one way to put queries, written "
    f"down before any figure was seen. cross-validated: the way for each of {FOLDS} parts of the queries is chosen on "
    "the other parts: of each choice what has the best mean nDCG@10 over all settings of the other choices. fitted: "
    "the best way on all these queries at once, which flatters and which no other row does."
)
