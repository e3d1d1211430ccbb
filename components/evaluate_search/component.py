"""KFP component of the search evaluation stage."""

from kfp.dsl import HTML, Artifact, Input, Metrics, Model, Output

from components.image_component import image_component
from components.shared.images import TRAIN_IMAGE


@image_component(TRAIN_IMAGE)
def evaluate_search(
    judgments: str,
    evaluation: Output[Artifact],
    report: Output[HTML],
    metrics: Output[Metrics],
    bundle: Input[Model] = None,  # pyright: ignore[reportArgumentType] - an optional input of KFP
    items_source: str = "",
    registry: str = "",
    model_name: str = "",
    public_key: str = "",
    data: dict = {},  # noqa: B006 - KFP takes the default as a constant
    search: dict = {},  # noqa: B006
    options: dict = {},  # noqa: B006
):
    """Measure a search on judgments, clicks or queries, beside plain BM25 and the champion.

    Args:
        judgments: File, folder, URI or glob with columns query, item_id and grade (or clicks), or query alone.
        bundle: Output of register_model to measure; without it and items_source, the champion is measured.
        items_source: File, folder, URI or glob of a catalog that is searched without a model.
        registry: Folder or s3:// URI of the registry with the champion; empty: no champion.
        model_name: Name in the registry.
        public_key: Public key to verify bundles; without one, native code is not run.
        data: Options of components/shared/schema/data_options.py, DataOptions, for items_source.
        search: Options of components/shared/search/config.py, SearchOptions, for items_source.
        options: Options of components/evaluate_search/config.py, SearchEvaluationOptions; {}: the defaults.

    Returns:
        evaluation: search_evaluation.json and queries.parquet.
        report: Page with the figures and the queries that gained and lost most.
        metrics: Every figure of every system.
    """
    from pathlib import Path

    from components.evaluate_search import stage

    known = (registry, model_name, public_key)
    wanted = stage.searched(items_source, bundle and Path(bundle.path), *known, data, search)
    found = stage.run(judgments, wanted, Path(evaluation.path), Path(report.path), options)
    for name, value in found.metrics().items():
        metrics.log_metric(name, value)
