"""Make the servable model: export, quantise, index, and compare with the trained one before anybody relies on it."""

import shutil
import time
from dataclasses import dataclass
from pathlib import Path
from typing import cast, get_args

import numpy as np

from components.compile_model.export import export_ranker, export_user_tower
from components.compile_model.flat import Precision
from components.shared.candidates import CandidateConfig
from components.shared.errors import DataError, InputError
from components.shared.lexical import LexicalIndex
from components.shared.models.offline import TorchModels, item_vectors, open_offline
from components.shared.progress import report
from components.shared.ranking_metrics import overlap_at_k
from components.shared.recommender import Ranking, Recommender
from components.shared.rows import Rows
from components.shared.storage import atomic_directory, read_json, write_json
from components.shared.text import tokenize
from components.shared.vector_index import EXACT_UP_TO, VectorIndex
from components.shared.version import VERSION


@dataclass(frozen=True, kw_only=True)
class CompileConfig:
    """How the model is compressed and how close it must stay to the trained one."""

    precision: Precision = "int8"
    """Embedding rows as fp32, fp16 or int8 (a scale and a minimum a row)."""
    max_probability_difference: float = 0.02
    """Largest difference of a probability that is accepted."""
    min_rank_overlap: float = 0.95
    """Least mean share of the ten best items that both models agree on."""
    parity_shoppers: int = 200
    """Shoppers of the validation split that are compared."""
    exact_index_up_to: int = EXACT_UP_TO
    """Larger catalogues get an approximate index."""
    timed_requests: int = 100
    """Single requests that are timed."""


def config_for(precision: str) -> CompileConfig:
    """The default limits with a precision given as text.

    Raises:
        InputError: there is no such precision.
    """
    if precision not in get_args(Precision):
        raise InputError(f"precision is '{precision}'", f"use one of: {', '.join(get_args(Precision))}")
    return CompileConfig(precision=cast(Precision, precision))


def compile_model(
    features: Path, retriever: Path, ranker: Path, statistics: Path | None, out: Path, config: CompileConfig
) -> dict[str, float]:
    """Write everything a bundle needs but its manifest (layout: DESIGN.md section 6).

    Args:
        features: Output of build_features.
        retriever: Output of train_retriever.
        ranker: Output of train_ranker.
        statistics: Output of validate_data, the drift baseline.
        out: Folder to write.
        config: Precision and limits.

    Returns:
        Sizes in MB, parity and latency in ms, by flat name.

    Raises:
        DataError: the compiled model does not answer like the trained one.
    """
    trained = open_offline(features, retriever, ranker, CandidateConfig(**read_json(ranker / "candidates.json")))
    assert isinstance(trained.models, TorchModels) and trained.models.ranker is not None
    with atomic_directory(out) as folder:
        export_user_tower(trained.models.retriever, folder / "retriever" / "user.onnx", config.precision)
        query_width = trained.spec.user("query").max_length
        export_ranker(trained.models.ranker, query_width, folder / "ranker" / "ranker.onnx", config.precision)
        write_json(
            folder / "ranker" / "ranker.json",
            {"tasks": list(trained.models.tasks), "candidates": read_json(ranker / "candidates.json"),
             "precision": config.precision},
        )  # fmt: skip
        report("compile_model", 0.4, f"exported as {config.precision}")
        _index(trained, folder, config)
        _copy_state(features, statistics, folder)
        report("compile_model", 0.7, "indexed")
        compiled = Recommender.open(folder)
        rows = Rows.read(features / "rows" / "validation.parquet", trained.spec)
        figures = {**_sizes(retriever, ranker, folder), **compare(trained, compiled, rows, config)}
        figures |= latency(compiled, rows, config.timed_requests)
        write_json(folder / "compile.json", {**figures, "precision": config.precision, "version": VERSION})
        write_golden(compiled, rows, folder / "golden.json")
    report("compile_model", 1.0, f"overlap@10 {figures['rank_overlap_at_10']:.4f}")
    return figures


def _index(trained: Recommender, folder: Path, config: CompileConfig) -> None:
    """Vector index over item vectors and BM25 index over titles, brands and categories."""
    assert isinstance(trained.models, TorchModels)
    vectors, bias = item_vectors(trained.models.retriever, trained.catalog)
    # The unknown item is nobody's answer.
    bias[0] = -1e9
    np.save(folder / "retriever" / "item_vectors.npy", vectors)
    np.save(folder / "retriever" / "item_bias.npy", bias)
    VectorIndex.build(vectors, bias, config.exact_index_up_to).save(folder / "retriever" / "index.faiss")
    catalog = trained.catalog
    texts = [
        " ".join([title or "", brand or "", *(path or [])])
        for title, brand, path in zip(
            catalog.title.to_pylist(), catalog.brand.to_pylist(), catalog.categories.to_pylist(), strict=True
        )
    ]
    (folder / "lexical").mkdir()
    LexicalIndex.build(texts).save(folder / "lexical")


def _copy_state(features: Path, statistics: Path | None, folder: Path) -> None:
    for name in ("spec.json", "items.parquet", "users.parquet", "category.parquet", "brand.parquet", "token.parquet"):
        shutil.copyfile(features / name, folder / name)
    shutil.copytree(features / "history", folder / "history")
    shutil.copyfile(features / "statistics" / "serving.npy", folder / "statistics.npy")
    shutil.copytree(features / "neighbours" / "serving", folder / "neighbours")
    if statistics is not None:
        shutil.copyfile(statistics / "statistics.json", folder / "training_statistics.json")
    write_json(
        folder / "licences.json",
        {"shoprank": "Apache-2.0", "events and catalogue": "as licensed by their owner; see the run's source"},
    )


def _sizes(retriever: Path, ranker: Path, folder: Path) -> dict[str, float]:
    def megabytes(*paths: Path) -> float:
        return round(sum(path.stat().st_size for path in paths) / 1e6, 3)

    return {
        "trained_mb": megabytes(retriever / "weights.safetensors", ranker / "weights.safetensors"),
        "compiled_mb": megabytes(folder / "retriever" / "user.onnx", folder / "ranker" / "ranker.onnx"),
        "item_vectors_mb": megabytes(folder / "retriever" / "item_vectors.npy"),
        "bundle_mb": megabytes(*(path for path in folder.rglob("*") if path.is_file())),
    }


def _answers(recommender: Recommender, rows: Rows, shoppers: np.ndarray, k: int) -> list[Ranking]:
    """Answers at the moment that the bundle serves from."""
    now = np.full(len(shoppers), recommender.spec.as_of)
    histories = recommender.store.before(rows.shopper[shoppers], now, recommender.spec.max_history)
    return recommender.rank(histories, k)


def compare(trained: Recommender, compiled: Recommender, rows: Rows, config: CompileConfig) -> dict[str, float]:
    """Largest difference of a probability on shared candidates and mean overlap of the ten best.

    Raises:
        DataError: a limit of `config` is exceeded.
    """
    overlaps, worst = [], 0.0
    for start in range(0, min(config.parity_shoppers, len(rows)), 50):
        shoppers = np.arange(start, min(start + 50, len(rows), config.parity_shoppers))
        every = len(trained.catalog)
        pairs = zip(_answers(trained, rows, shoppers, every), _answers(compiled, rows, shoppers, every), strict=True)
        for one, other in pairs:
            overlaps.append(overlap_at_k(one.item[None, :10], other.item[None, :10])[0])
            _, left, right = np.intersect1d(one.item, other.item, return_indices=True)
            worst = max(worst, float(np.abs(one.tasks[left] - other.tasks[right]).max(initial=0.0)))
    overlap = float(np.mean(overlaps))
    if worst > config.max_probability_difference or overlap < config.min_rank_overlap:
        raise DataError(
            f"the compiled model differs: probabilities by up to {worst:.4f}, overlap@10 {overlap:.3f}",
            f"limits are {config.max_probability_difference} and {config.min_rank_overlap}; use precision fp16 or fp32",
        )
    return {"max_probability_difference": worst, "rank_overlap_at_10": overlap}


def latency(compiled: Recommender, rows: Rows, requests: int) -> dict[str, float]:
    """Milliseconds of single requests (median, 99th percentile) and of a batch of 32, in this process, one thread."""
    shoppers = np.arange(requests) % len(rows)
    for one in range(5):
        _answers(compiled, rows, shoppers[one : one + 1], 10)
    seconds = []
    for one in range(requests):
        started = time.perf_counter()
        _answers(compiled, rows, shoppers[one : one + 1], 10)
        seconds.append(time.perf_counter() - started)
    started = time.perf_counter()
    _answers(compiled, rows, np.arange(32) % len(rows), 10)
    return {
        "single_p50_ms": float(np.median(seconds)) * 1e3,
        "single_p99_ms": float(np.quantile(seconds, 0.99)) * 1e3,
        "batch_32_ms": (time.perf_counter() - started) * 1e3,
    }


def write_golden(compiled: Recommender, rows: Rows, path: Path, shoppers: int = 6) -> None:
    """Write requests with their answers: known shoppers, an unknown one, and searches by words of frequent titles."""
    user_id = {row: name for name, row in compiled.user_row.items()}
    known = [(user_id[int(row)], int(row)) for row in rows.shopper[:shoppers]]
    titles = compiled.catalog.title.to_pylist()
    words = [title.split()[0].strip(",.;:/-") for title in titles[1:4] if title and title.split()]
    asked = [({"user_id": name, "k": 10}, row, "") for name, row in known]
    asked.append(({"k": 10}, 0, ""))
    asked += [({"user_id": known[0][0], "query": word, "k": 5}, known[0][1], word) for word in words if tokenize(word)]
    golden = []
    for request, row, query in asked:
        histories = compiled.store.before(np.array([row]), np.array([compiled.spec.as_of]), compiled.spec.max_history)
        queries = [query] if query else None
        answer = compiled.rank(histories, request["k"], queries, compiled.catalog.available)[0]
        items = compiled.catalog.item_id.take(answer.item).to_pylist()
        golden.append({"request": request, "items": items, "scores": [round(float(s), 6) for s in answer.score]})
    write_json(path, golden)
