"""KFP component of the training of a relevance model."""

from kfp.dsl import Input, Metrics, Model, Output

from components.image_component import image_component
from components.shared.images import TRAIN_IMAGE


@image_component(TRAIN_IMAGE)
def train_relevance(
    judgments: str,
    model: Output[Model],
    summary: Output[Metrics],
    bundle: Input[Model] = None,  # pyright: ignore[reportArgumentType] - an optional input of KFP
    items_source: str = "",
    public_key: str = "",
    data: dict = {},  # noqa: B006 - KFP takes the default as a constant
    options: dict = {},  # noqa: B006
):
    """Learn from judgments or clicks what ranks the items that a query finds.

    Args:
        judgments: File, folder, URI or glob with columns query, item_id and grade; or clicks, with position,
            user_id and timestamp where known.
        bundle: Output of register_model whose search is taught; without it, items_source is given.
        items_source: File, folder, URI or glob of a catalog.
        public_key: Public key to verify the bundle; without one, native code is not run.
        data: Options of components/shared/schema/data_options.py, DataOptions, for items_source.
        options: Options of components/train_relevance/config.py, RelevanceOptions; {}: the defaults.

    Returns:
        model: relevance.json; its path or URI is compile.search.relevance.
        summary: Cross-validated nDCG@10 beside that of the score of the words.
    """
    from functools import partial
    from pathlib import Path

    from components.shared.progress import report
    from components.train_relevance import train
    from components.train_relevance.config import RelevanceOptions

    searched = train.Searched(items=items_source, data=data, bundle=bundle and Path(bundle.path), public_key=public_key)
    read, out = RelevanceOptions.read(options, "options"), Path(model.path) / train.MODEL
    found = train.train_relevance(judgments, searched, out, read, partial(report, train.STAGE))
    for name, value in found.metrics().items():
        summary.log_metric(name, value)
