"""The KFP component of the ranker trains tuned values together with explicit parameters."""

import pytest
from kfp import dsl
from kfp.dsl import Dataset, Metrics, Model

from components.shared.models.ranker import RankerConfig
from components.shared.models.ranker_options import CrossConfig, MmoeConfig, TargetAttentionConfig
from components.shared.tuning.hyperparameters import Hyperparameters
from components.train_ranker.component import train_ranker

TUNED = {"architecture.interaction": "cross", "architecture.heads": "mmoe", "hidden_dim": 8, "epochs": 1}


@pytest.mark.slow
def test_tuned_architecture_is_combined_with_explicit_parameters(tiny_run, tmp_path):
    train_ranker.python_func(  # pyright: ignore[reportFunctionMemberAccess]
        features=Dataset(uri=str(tiny_run.features)), retriever=Model(uri=str(tiny_run.retriever)),
        model=Model(uri=str(tmp_path / "ranker")), summary=Metrics(), task_config=dsl.TaskConfig(), size="tiny",
        ranker={"hyperparameters": Hyperparameters(model="ranker", values=TUNED).text,
                "architecture": {"attention": {}}},
    )  # fmt: skip
    trained = RankerConfig.read(tmp_path / "ranker" / "config.json")
    assert trained.hidden_dim == 8
    assert isinstance(trained.architecture.interaction, CrossConfig)
    assert isinstance(trained.architecture.heads, MmoeConfig)
    assert isinstance(trained.architecture.attention, TargetAttentionConfig)
