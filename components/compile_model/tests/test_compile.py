"""The compiled model answers like the trained one and is smaller; a model that differs is refused."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from components.compile_model.compile import compile_model, write_golden
from components.compile_model.config import CompileOptions, Limits, TableFormat
from components.compile_model.export import export_ranker, export_user_tower, quantise_dense
from components.compile_model.parity import compare, quality
from components.shared.errors import DataError, InputError
from components.shared.features.columns import DenseInput
from components.shared.features.query import query_features
from components.shared.features.rows import Rows
from components.shared.features.spec import FeatureSpec, SparseFeature
from components.shared.models.encoders.config import AttentionConfig
from components.shared.models.ranker_options import CrossConfig, MmoeConfig, RankerArchitecture, TargetAttentionConfig
from components.shared.recommender.candidates import CandidateConfig
from components.shared.recommender.exported_models import ExportedModels
from components.shared.recommender.offline import (
    TorchModels,
    item_vectors,
    load_ranker,
    load_retriever,
    open_offline,
    trained_rows,
)
from components.shared.recommender.recommender import Recommender
from components.shared.release.golden import read_golden
from components.shared.schema.sizes import size_named
from components.shared.storage import read_json
from components.train_ranker.config import RankerTraining
from components.train_ranker.train import train as train_ranker
from components.train_retriever.config import RetrieverTraining
from components.train_retriever.train import train as train_retriever

TOLERANCE = {"fp32": 1e-5, "fp16": 1e-3, "int8": 1e-2, "int4": 0.15}
"""Largest difference of a vector's coordinate or of a probability."""


@pytest.fixture(scope="module")
def trained(tiny_run) -> TorchModels:
    return TorchModels(load_retriever(tiny_run.retriever), load_ranker(tiny_run.ranker))


@pytest.fixture(scope="module")
def exported(trained, tmp_path_factory) -> dict[str, Path]:
    """Both graphs at each precision, in folders that ExportedModels can open."""
    folders = {}
    width = next(feature.max_length for feature in trained.retriever.config.user_features if feature.name == "query")
    for precision in TOLERANCE:
        folders[precision] = folder = tmp_path_factory.mktemp(precision)
        form = TableFormat(storage=precision)
        export_user_tower(trained.retriever, folder / "retriever" / "user.onnx", form)
        export_ranker(trained.ranker, width, folder / "ranker" / "ranker.onnx", form)
        (folder / "ranker" / "ranker.json").write_text(json.dumps({"tasks": trained.tasks}))
    return folders


def random_inputs(features: tuple[SparseFeature, ...], rows: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Random valid ids, with weights that sum to at most 1 per feature; some positions are padding."""
    random = np.random.default_rng(seed)
    ids = [random.integers(0, feature.rows, (rows, feature.max_length)) for feature in features]
    weights = [random.random((rows, feature.max_length)) / feature.max_length for feature in features]
    keep = [random.random(part.shape) < 0.8 for part in ids]
    return (
        np.concatenate([part * kept for part, kept in zip(ids, keep, strict=True)], 1).astype(np.int64),
        np.concatenate([part * kept for part, kept in zip(weights, keep, strict=True)], 1).astype(np.float32),
    )


@pytest.mark.slow
@pytest.mark.parametrize("precision", TOLERANCE)
def test_random_inputs_give_the_outputs_of_the_trained_model(exported, trained, precision):
    served, tolerance = ExportedModels.load(exported[precision]), TOLERANCE[precision]
    assert served.tasks == trained.tasks == ("purchase_again", "purchase_first")
    retriever, ranker = trained.retriever.config, trained.ranker.config
    for rows in (1, 2, 33):
        user = random_inputs(retriever.user_features, rows, rows)
        np.testing.assert_allclose(served.user_vectors(*user), trained.user_vectors(*user), atol=tolerance)
        pairs = 3 * rows + 1
        item = random_inputs(ranker.item_features, pairs, rows + 100)
        row = np.sort(np.random.default_rng(rows).integers(0, rows, pairs))
        dense = np.random.default_rng(rows).normal(0, 3, (pairs, len(DenseInput))).astype(np.float32)
        found, wanted = (models.task_probabilities(user, item, row, dense) for models in (served, trained))
        vectors = served.item_inputs(*item)
        assert len(vectors) == 1, "of a catalog, vectors are computed once instead of being looked up for each pair"
        np.testing.assert_array_equal(served.task_probabilities(user, vectors, row, dense), found)
        assert found.shape == (pairs, 2) and found.dtype == np.float32
        np.testing.assert_allclose(found, wanted, atol=tolerance)
    none = np.zeros((0, len(DenseInput)), np.float32)
    assert served.task_probabilities(user, item, np.zeros(0, np.int64), none).shape == (0, 2)


@pytest.mark.slow
def test_int8_dense_layers_are_smaller_and_close_to_the_trained_model(exported, trained, tmp_path):
    shutil.copytree(exported["fp32"], tmp_path / "int8")
    for path in (tmp_path / "int8").rglob("*.onnx"):
        before = path.stat().st_size
        quantise_dense(path)
        assert 0.5 * before < path.stat().st_size < before, "the tables are most of it"
    served = ExportedModels.load(tmp_path / "int8")
    user = random_inputs(trained.retriever.config.user_features, 33, 1)
    found, wanted = served.user_vectors(*user), trained.user_vectors(*user)
    assert 0 < np.abs(found - wanted).max() < 0.1
    assert np.corrcoef(found.ravel(), wanted.ravel())[0, 1] > 0.99


@pytest.mark.slow
def test_training_records_the_embedding_rows_that_it_updated(tiny_run, trained):
    for folder, model in ((tiny_run.retriever, trained.retriever), (tiny_run.ranker, trained.ranker)):
        touched = trained_rows(folder)
        tables = {name for name, _ in model.named_parameters() if ".embedding_bags." in name}
        assert set(touched) == tables
        assert any(rows.any() and not rows.all() for rows in touched.values())
    rows = Rows.read(
        tiny_run.features / "rows" / "retriever.parquet", FeatureSpec.read(tiny_run.features / "spec.json")
    )
    used = np.unique(rows.features["interest_category"].values)
    found = trained_rows(tiny_run.retriever)["user_bags.embedding_bags.t_interest_category.weight"].numpy()
    assert set(np.flatnonzero(found)) <= set(used.tolist()) and found.sum() > 0.9 * len(used)


@pytest.mark.slow
def test_each_lower_precision_is_smaller(exported):
    sizes = {
        precision: sum(path.stat().st_size for path in folder.rglob("*.onnx")) for precision, folder in exported.items()
    }
    assert sizes["fp32"] > 1.5 * sizes["fp16"] > 1.5 * sizes["int8"]
    assert sizes["int8"] > 1.3 * sizes["int4"]
    assert all(not list(folder.rglob("*.data")) for folder in exported.values()), "one file a graph"


@pytest.fixture(scope="module")
def opened(tiny_run) -> tuple[Recommender, Recommender, Rows]:
    """The trained and the compiled recommender, and the shoppers they are compared on."""
    config = CandidateConfig(**read_json(tiny_run.ranker / "candidates.json"))
    offline = open_offline(tiny_run.features, tiny_run.retriever, tiny_run.ranker, config)
    return offline, Recommender.open(tiny_run.compiled), Rows.read(
        tiny_run.features / "rows" / "validation.parquet", offline.spec
    )  # fmt: skip


@pytest.mark.slow
def test_folder_contains_the_files_of_a_bundle_and_its_quality_figures(tiny_run):
    figures = read_json(tiny_run.compiled / "compile.json")
    assert figures["table_format"] == "int8"
    assert figures["max_probability_difference"] <= 0.02 and figures["rank_overlap_at_10"] >= 0.95
    assert figures["compiled_mb"] < figures["trained_mb"]
    assert 0 < figures["single_p50_ms"] <= figures["single_p99_ms"]
    for name in ("spec.json", "items.parquet", "users.parquet", "token.parquet", "statistics.npy", "golden.json",
                 "history/offsets.npy", "retriever/index.faiss", "search/terms.arrow", "training_statistics.json",
                 "licences.json"):  # fmt: skip
        assert (tiny_run.compiled / name).exists(), name
    assert not [path for path in tiny_run.compiled.rglob("*") if path.suffix in {".pkl", ".pickle", ".pt"}]


def unvalidated(limits: Limits, **changes: float) -> Limits:
    """Limits without validation, so that no model can meet them."""
    return limits.model_copy(update=changes)


@pytest.mark.slow
def test_compare_passes_within_the_limits_and_refuses_beyond_them(opened):
    figures = compare(*opened, Limits(shoppers=20))
    assert 0 < figures["max_probability_difference"] <= 0.02
    with pytest.raises(DataError, match="compiled and trained model differ: probabilities by up to") as caught:
        compare(*opened, Limits(shoppers=20, max_probability_difference=1e-9))
    assert "use fp16 or fp32" in caught.value.fix
    with pytest.raises(DataError, match=r"overlap@10"):
        compare(*opened, unvalidated(Limits(shoppers=20), min_rank_overlap=1.01))


@pytest.mark.slow
def test_ranking_quality_is_measured_at_validation_time_and_a_loss_refused(tiny_run, opened):
    _, compiled, rows = opened
    config = CandidateConfig(**read_json(tiny_run.ranker / "candidates.json"))
    then = open_offline(tiny_run.features, tiny_run.retriever, tiny_run.ranker, config, "validation")
    figures = quality(then, compiled, rows, Limits())
    assert figures["ndcg_at_10_compiled"] == pytest.approx(figures["ndcg_at_10_trained"], rel=0.02)
    assert 0.1 < figures["ndcg_at_10_trained"] < 0.9
    with pytest.raises(DataError, match=r"ranks worse: NDCG@10 0\.\d+ instead of 0\.\d+"):
        quality(then, compiled, rows, unvalidated(Limits(), max_ndcg_loss=-0.5))


@pytest.mark.slow
def test_index_with_too_low_recall_is_replaced_by_an_exact_one(tiny_run, tmp_path):
    models = (tiny_run.features, tiny_run.retriever, tiny_run.ranker, tiny_run.statistics)
    for least, exact in ((0.5, False), (1.01, True)):
        limits = unvalidated(Limits(shoppers=20, min_rank_overlap=0.5), min_index_recall=least)
        config = CompileOptions(exact_index_up_to=10, timed_requests=1).model_copy(update={"limits": limits})
        figures = compile_model(*models, tmp_path / str(exact), config)
        assert 0.5 < figures["index_recall_at_100"] <= 1.0
        assert Recommender.open(tmp_path / str(exact)).index.exact == exact


@pytest.mark.slow
def test_a_refused_model_leaves_nothing_behind(tiny_run, tmp_path):
    config = CompileOptions(limits=Limits(max_probability_difference=1e-9, shoppers=10))
    with pytest.raises(DataError):
        compile_model(
            tiny_run.features, tiny_run.retriever, tiny_run.ranker, tiny_run.statistics, tmp_path / "out", config
        )
    assert not list(tmp_path.iterdir())


@pytest.mark.slow
def test_encoder_cross_experts_and_attention_compile_within_the_limits(tiny_run, tmp_path):
    """All architecture options at once, trained and compiled by the stages' own functions."""
    size, seed = size_named("tiny"), 3
    encoder = AttentionConfig(layers=1, hidden_dim=16)
    retriever = RetrieverTraining.from_size(size, seed).replace(encoder=encoder, epochs=1)
    shape = RankerArchitecture(interaction=CrossConfig(), heads=MmoeConfig(), attention=TargetAttentionConfig())
    ranker = RankerTraining.from_size(size, seed).replace(architecture=shape, epochs=1)
    train_retriever(tiny_run.features, tmp_path / "retriever", retriever)
    train_ranker(tiny_run.features, tmp_path / "retriever", tmp_path / "ranker", ranker)
    models = (tiny_run.features, tmp_path / "retriever", tmp_path / "ranker", tiny_run.statistics)
    figures = compile_model(*models, tmp_path / "out", CompileOptions())
    assert figures["rank_overlap_at_10"] >= 0.95 and read_golden(tmp_path / "out")


@pytest.mark.slow
def test_golden_requests_are_reproducible_and_answered_the_same(tiny_run, opened, tmp_path):
    _, compiled, rows = opened
    write_golden(compiled, rows, tmp_path / "golden.json")
    assert (tmp_path / "golden.json").read_bytes() == (tiny_run.compiled / "golden.json").read_bytes()
    golden = read_golden(tiny_run.compiled)
    requests = [one.request for one in golden]
    assert any("query" in request for request in requests) and any("user_id" not in request for request in requests)
    for one in golden:
        shopper = np.array([compiled.user_row.get(one.request.get("user_id", ""), 0)])
        histories = compiled.store.before(shopper, np.array([compiled.spec.as_of]), compiled.spec.max_history)
        queries = [one.request["query"]] if "query" in one.request else None
        answer = compiled.rank(histories, one.request["k"], queries, compiled.catalog.available)[0]
        assert len(answer.item) == len(one.items) > 0
        assert one.difference(compiled.catalog.item_id.take(answer.item).to_pylist(), answer.score.tolist()) == ""


@pytest.mark.slow
def test_index_stores_the_trained_vectors_and_never_finds_the_unknown_item(tiny_run, opened, trained):
    _, compiled, rows = opened
    vectors, bias = item_vectors(trained.retriever, compiled.catalog)
    stored = compiled.index.vectors(np.arange(len(compiled.catalog)))
    np.testing.assert_allclose(stored[:, :-1], vectors, atol=1e-6)
    np.testing.assert_allclose(stored[1:, -1], bias[1:], atol=1e-6)
    now = np.full(len(rows), compiled.spec.as_of)
    histories = compiled.store.before(rows.shopper, now, compiled.spec.max_history)
    assert (compiled.candidates(histories).found.item > 0).all()


@pytest.mark.slow
def test_live_query_gets_the_same_tokens_as_a_training_row(opened):
    _, compiled, _ = opened
    queries = ["Organic MILK", "牛奶", "", "🥛", "zzz unheard of milk " * 9]
    histories = compiled.store.before(np.zeros(5, np.int64), np.full(5, compiled.spec.as_of), 10)
    live = compiled.candidates(histories, [compiled.understood(query, verbatim=True) for query in queries]).features[
        "query"
    ]
    offline = query_features(queries, compiled.tokens, compiled.spec.user("query").max_length)
    for one, other in ((live.offsets, offline.offsets), (live.values, offline.values), (live.weights, offline.weights)):
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize(
    ("raw", "message"),
    [
        ({"table_format": "FP16"}, "compile.table_format is 'FP16'\n.*fp32, fp16, int8, int4"),
        ({"dense_format": "int4"}, "compile.dense_format is 'int4'\n.*fp32, int8"),
        ({"precision": "int8"}, "compile.precision is not an option"),
        ({"limits": {"max_loss": 0.1}}, "compile.limits.max_loss is not an option\n.*max_ndcg_loss"),
        ({"limits": {"max_ndcg_loss": -0.1}}, "compile.limits.max_ndcg_loss is -0.1"),
        ({"limits": {"shoppers": 0}}, "compile.limits.shoppers is 0"),
        ({"limits": 0.1}, "compile.limits is 0.1"),
    ],
)
def test_invalid_options_are_refused_by_their_path(raw, message):
    with pytest.raises(InputError, match=message):
        CompileOptions.read(raw, "compile")


def test_limits_that_are_not_given_keep_their_defaults():
    found = CompileOptions.read({"limits": {"max_ndcg_loss": 0.005, "shoppers": 50}}, "compile")
    assert found.limits == Limits(max_ndcg_loss=0.005, shoppers=50) and found.table_format == "int8"
