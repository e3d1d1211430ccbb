"""The demo: train on a real shop, serve the model, send requests, write the report."""

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from components.shared.errors import DataError
from components.shared.release.registry import Registry
from components.shared.report.run_report import RunFolders, write_report
from components.validate_serving.predictor import PredictorConfig, running
from pipelines.cli.asking import ask
from pipelines.local.runs import Run

MODEL_NAME = "shop"
SYNONYMS = ("牛奶 => milk",)
"""Rules of the demo's search, as a shop whose shoppers also ask in Chinese would give them."""


@dataclass(frozen=True)
class DemoRequest:
    """A request with its wording for the terminal."""

    title: str
    request: dict[str, Any]


def demo_requests(bundle: Path, query: str = "milk") -> list[DemoRequest]:
    """Requests of a shopper with a long history, searches, one of an unknown shopper, and what goes with an item."""
    users = pq.read_table(bundle / "users.parquet", columns=["user_id"]).slice(0, 20)["user_id"].to_pylist()
    shopper = users[-1]
    # Row 0 is the unknown item, row 1 the one with the most events.
    (item,) = pq.read_table(bundle / "items.parquet", columns=["item_id", "title"]).slice(1, 1).to_pylist()
    return [
        DemoRequest(f"What should shopper {shopper} see?", {"user_id": shopper, "k": 8}),
        DemoRequest(f"Shopper {shopper} searches for '{query}'", {"user_id": shopper, "query": query, "k": 8}),
        DemoRequest("Searches for 'bananna'", {"user_id": shopper, "query": "bananna", "k": 4}),
        DemoRequest("Searches for '牛奶'", {"query": "牛奶", "k": 4}),
        DemoRequest("Searches for 'coffee under $6 -decaf'", {"query": "coffee under $6 -decaf", "k": 4}),
        DemoRequest("An unknown shopper", {"user_id": "nobody-yet", "k": 8}),
        DemoRequest(f"What goes with '{item['title']}'", {"bought_with": [item["item_id"]], "k": 4}),
    ]


def ask_all(bundle: Path, public_key: Path | None) -> list[tuple[DemoRequest, dict[str, Any]]]:
    """Start the predictor on loopback and send it the requests.

    Raises:
        DataError: an answer has no items.
    """
    answers = []
    with running(bundle, PredictorConfig(public_key=public_key)) as predictor:
        for question in demo_requests(bundle):
            answer = ask(predictor.url, question.request, predictor.name)
            if not answer["items"]:
                raise DataError(
                    f"'{question.title}': the answer has no items", "check the predictor's log and the report"
                )
            answers.append((question, answer))
    return answers


def report(run: Run, out: Path, answers: list[tuple[DemoRequest, dict[str, Any]]]) -> Path:
    """Write the report of a run; stages that did not run are omitted."""

    def artifact(task: str, name: str) -> Path | None:
        return run.artifact(task, name) if run.has(task) else None

    size = run.arguments.get("size")
    folders = RunFolders(
        rejected=artifact("ingest-events", "rejected"), statistics=artifact("validate-data", "statistics"),
        features=artifact("build-features", "features"),
        retriever=artifact("train-retriever", "model"),
        ranker=artifact("train-ranker", "model"), evaluation=artifact("evaluate-model", "evaluation"),
        compiled=artifact("compile-model", "compiled"), proof=artifact("validate-serving", "proof"),
        stages=run.stages, command=f"shoprank run {run.pipeline}" + (f" --size {size}" if size else ""),
        answers=tuple({"title": q.title, "request": q.request, **a} for q, a in answers),
    )  # fmt: skip
    write_report(folders, out)
    return out


def champion(registry: Path, model_name: str = MODEL_NAME) -> Path:
    """The bundle of the current champion."""
    return Registry(registry).resolve(f"{model_name}/champion")


def elapsed(started: float) -> str:
    """Time since `started`, formatted."""
    return f"{time.monotonic() - started:.0f} s"
