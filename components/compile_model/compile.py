"""Compile the models for serving: export, quantise, index, and compare with the trained models."""

import shutil
from pathlib import Path
from typing import Any

import numpy as np

from components.compile_model.config import CompileOptions
from components.compile_model.export import (
    Exporter,
    export_item_tower,
    export_onnx,
    export_ranker,
    export_user_tower,
    quantise_dense,
)
from components.compile_model.parity import compare, index_recall, latency, quality
from components.shared.features.columns import ItemStatistic
from components.shared.features.rows import Rows
from components.shared.features.vocabulary import QUERIES, read_queries
from components.shared.progress import report
from components.shared.recommender.candidates import CandidateConfig
from components.shared.recommender.exported_models import RANKER_ITEMS
from components.shared.recommender.offline import TorchModels, item_vectors, open_offline, trained_rows
from components.shared.recommender.recommender import Recommender, golden_answer
from components.shared.recommender.runtime import Runtime, RuntimeRecord
from components.shared.recommender.vector_index import VectorIndex
from components.shared.search.config import SearchOptions
from components.shared.search.documents import read_documents
from components.shared.search.searching import CatalogSearch
from components.shared.storage import atomic_directory, read_json, write_json
from components.shared.text.tokenizer import tokenize
from components.shared.version import VERSION


def compile_model(
    features: Path, retriever: Path, ranker: Path, statistics: Path | None, out: Path, config: CompileOptions
) -> dict[str, float]:
    """Write all files of a bundle except its manifest.

    Args:
        features: Output of build_features.
        retriever: Output of train_retriever.
        ranker: Output of train_ranker.
        statistics: Output of validate_data, the drift baseline.
        out: Folder to write.
        config: Precision and limits.

    Returns:
        Sizes in MB, parity, quality and latency in ms, by metric name.

    Raises:
        DataError: the compiled model differs too much from the trained one.
        InputError: native code cannot be compiled on this machine.
    """
    record, export = _exporter(config.runtime)
    trained = open_offline(features, retriever, ranker, CandidateConfig(**read_json(ranker / "candidates.json")))
    with atomic_directory(out) as folder:
        record.write(folder)
        pruned = _export(trained, (retriever, ranker), folder, config, export)
        how = {"table_format": config.table_format, "dense_format": config.dense_format, "runtime": config.runtime}
        write_json(
            folder / "ranker" / "ranker.json",
            {"tasks": list(trained.models.tasks), "candidates": read_json(ranker / "candidates.json"), **how},
        )
        report("compile_model", 0.4, f"exported as {config.table_format} for {config.runtime}")
        rows = Rows.read(features / "rows" / "validation.parquet", trained.spec)
        _copy_state(features, statistics, folder, config.search)
        compiled, recall = _indexed(trained, folder, config, rows)
        figures = {**_sizes((retriever, ranker), folder, record), **compare(trained, compiled, rows, config.limits)}
        figures["index_recall_at_100"] = recall
        then = open_offline(features, retriever, ranker, trained.config, "validation")
        figures |= quality(then, compiled, rows, config.limits) | latency(compiled, rows, config.timed_requests)
        write_json(folder / "compile.json", {**figures, **pruned, **how, "version": VERSION})
        write_golden(compiled, rows, folder / "golden.json")
    report("compile_model", 1.0, f"overlap@10 {figures['rank_overlap_at_10']:.4f}")
    return figures


def _exporter(runtime: Runtime) -> tuple[RuntimeRecord, Exporter]:
    if runtime == "onnxruntime":
        return RuntimeRecord(), export_onnx
    # Imported here, because inductor takes seconds to import.
    from components.compile_model.aoti import export_aoti, native_record

    return native_record(), export_aoti


def _export(
    trained: Recommender, models: tuple[Path, Path], folder: Path, config: CompileOptions, export: Exporter
) -> dict[str, int]:
    """Write the graphs and return the numbers of dropped rows of the user tower and the ranker."""
    assert isinstance(trained.models, TorchModels) and trained.models.ranker is not None
    user, ranker = RuntimeRecord(name=config.runtime).graphs(folder)
    retriever_rows, ranker_rows = (trained_rows(model) for model in models)
    width = trained.spec.user("query").max_length
    pruned = {
        "user_rows_pruned": export_user_tower(
            trained.models.retriever, user, config.tables, retriever_rows, trained.models.vectors, export
        ),
        "ranker_rows_pruned": export_ranker(trained.models.ranker, width, ranker, config.tables, ranker_rows, export),
    }
    # Only refresh_catalog runs it, once per catalog, so its latency does not justify native code.
    export_item_tower(trained.models.retriever, folder / "retriever" / "item.onnx", config.tables)
    if config.dense_format == "int8":
        for path in (user, ranker):
            quantise_dense(path)
    return pruned


def _indexed(trained: Recommender, folder: Path, config: CompileOptions, rows: Rows) -> tuple[Recommender, float]:
    """Return the compiled model with its indexes, and the recall of the approximate index even if it was rejected.

    The recall is measured with real shoppers, because no statistic of the vectors predicts how many of the nearest
    items an approximate index misses: a wide spread of item biases alone costs a third of them.
    """
    _index(trained, folder, config.exact_index_up_to)
    compiled = Recommender.open(folder)
    recall = index_recall(compiled, rows, config.limits)
    report("compile_model", 0.7, "indexed" if compiled.index.exact else f"indexed, recall@100 {recall:.3f}")
    if recall < config.limits.min_index_recall:
        _index(trained, folder, len(trained.catalog))
        report(
            "compile_model",
            0.7,
            f"the approximate index finds {recall:.1%} of the nearest items: using exact search instead",
        )
        compiled = Recommender.open(folder)
    return compiled, recall


def _index(trained: Recommender, folder: Path, exact_up_to: int) -> None:
    """Write the vector index over item vectors."""
    assert isinstance(trained.models, TorchModels)
    vectors, bias = item_vectors(trained.models.retriever, trained.catalog)
    # The unknown item must never be returned.
    bias[0] = -1e9
    np.save(folder / "retriever" / "item_vectors.npy", vectors)
    np.save(folder / "retriever" / "item_bias.npy", bias)
    VectorIndex.build(vectors, bias, exact_up_to).save(folder / "retriever" / "index.faiss")


def _copy_state(features: Path, statistics: Path | None, folder: Path, search: SearchOptions) -> None:
    for name in ("spec.json", "items.parquet", "users.parquet", "category.parquet", "brand.parquet", "token.parquet"):
        shutil.copyfile(features / name, folder / name)
    shutil.copytree(features / "history", folder / "history")
    shutil.copyfile(features / "statistics" / "serving.npy", folder / "statistics.npy")
    shutil.copytree(features / "neighbours" / "serving", folder / "neighbours")
    (folder / "search").mkdir()
    asked = np.load(folder / "statistics.npy")[:, ItemStatistic.POPULARITY_LONG]
    if (features / QUERIES).exists():
        shutil.copyfile(features / QUERIES, folder / QUERIES)
    CatalogSearch.build(
        lambda: read_documents(folder / "items.parquet"), folder / "search", search, asked.tolist(),
        read_queries(folder),
    )  # fmt: skip
    if statistics is not None:
        shutil.copyfile(statistics / "statistics.json", folder / "training_statistics.json")
    write_json(
        folder / "licences.json",
        {"shoprank": "Apache-2.0", "events and catalog": "as licensed by their owner; see the run's source"},
    )


def _sizes(models: tuple[Path, Path], folder: Path, record: RuntimeRecord) -> dict[str, float]:
    def megabytes(*paths: Path) -> float:
        return round(sum(path.stat().st_size for path in paths) / 1e6, 3)

    return {
        "trained_mb": megabytes(*(model / "weights.safetensors" for model in models)),
        "compiled_mb": megabytes(*record.graphs(folder), *(folder / "ranker").glob(RANKER_ITEMS)),
        "item_vectors_mb": megabytes(folder / "retriever" / "item_vectors.npy"),
        "bundle_mb": megabytes(*(path for path in folder.rglob("*") if path.is_file())),
    }


def write_golden(compiled: Recommender, rows: Rows, path: Path, shoppers: int = 6) -> None:
    """Write requests with their responses: known shoppers, an unknown one, and searches by frequent title words."""
    user_id = {row: name for name, row in compiled.user_row.items()}
    known = [user_id[int(row)] for row in rows.shopper[:shoppers]]
    titles = compiled.catalog.title.to_pylist()
    words = [title.split()[0].strip(",.;:/-") for title in titles[1:4] if title and title.split()]
    requests: list[dict[str, Any]] = [*({"user_id": name, "k": 10} for name in known), {"k": 10}]
    requests += [{"user_id": known[0], "query": word, "k": 5} for word in words if tokenize(word)]
    write_json(path, [golden_answer(compiled, request) for request in requests])
