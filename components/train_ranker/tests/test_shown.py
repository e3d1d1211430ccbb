"""From the inference log to learned examination: logged responses joined with the purchases that followed."""

import datetime
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from components.build_features.build import build
from components.build_features.config import FeatureOptions
from components.shared.errors import DataError, InputError
from components.shared.features.rows import Rows
from components.shared.features.spec import FeatureSpec
from components.shared.models.examination import NOT_SHOWN, UNKNOWN
from components.shared.models.ranker_options import RankerArchitecture
from components.shared.recommender.offline import load_ranker
from components.shared.schema.tables import EVENTS, ITEMS
from components.shared.schema.timeline import Timeline
from components.shared.telemetry.inference_log import Answered, LogWriter
from components.shared.training.launch import LaunchConfig
from components.shared.training.optimizer import OptimizerConfig
from components.train_ranker.config import RankerTraining
from components.train_ranker.examples import PairRows, write_pairs
from components.train_ranker.shown import read_shown_positions
from components.train_ranker.train import train
from components.train_retriever.config import RetrieverTraining, SamplingConfig
from components.train_retriever.train import train as train_retriever

THINGS, SHOPPERS, DAYS, POSITIONS = 60, 120, 70, 4
START = datetime.datetime(2024, 1, 1, tzinfo=datetime.UTC)
PURCHASE_RATES = (0.9, 0.4, 0.2, 0.1)
"""Purchase probability at each position, whatever the item."""
LAUNCH = LaunchConfig(processes=1, threads=1)
CONFIG = RankerTraining(
    embedding_dim=4, hidden_dim=8, epochs=1, batch_shoppers=1, own_candidates=20, retrieved_candidates=40,
    similar_candidates=200,
    architecture=RankerArchitecture(positions=POSITIONS), launch=LAUNCH,
    optimizer=OptimizerConfig(embedding_lr=1e-3, dense_lr=0.1, seed=3),
)  # fmt: skip


@dataclass(frozen=True)
class Shop:
    """A shop whose predictor answers every visit with items in a random order."""

    features: Path
    retriever: Path
    log: Path
    answers: dict[str, tuple[int, datetime.datetime, list[str]]]
    """Shopper, time and items by request."""


def write_tables(folder: Path, events: list[dict]) -> None:
    items = [{"item_id": f"i{thing}", "title": f"thing {thing % 9}", "categories": [f"c{thing % 6}"]}
             for thing in range(THINGS)]  # fmt: skip
    for name, rows, schema in (("events", events, EVENTS), ("items", items, ITEMS)):
        (folder / name).mkdir()
        pq.write_table(pa.Table.from_pylist(rows, schema), folder / name / "part-0.parquet")


@pytest.fixture(scope="module")
def shop(tmp_path_factory) -> Shop:
    folder, random = tmp_path_factory.mktemp("shown"), np.random.default_rng(8)
    log, events, answers = LogWriter(folder / "log", "pod"), [], {}
    for shopper in range(SHOPPERS):
        for day in range(shopper % 4, DAYS, 4):
            time = START + datetime.timedelta(days=day, seconds=shopper)
            request, items = f"r{shopper}-{day}", [f"i{thing}" for thing in random.permutation(THINGS)[:POSITIONS]]
            answers[request] = (shopper, time, items)
            visit = {"user_id": f"u{shopper}", "timestamp": time, "request_id": request}
            events.append({**visit, "item_id": items[0], "event_type": "impression"})
            for share, item in zip(PURCHASE_RATES, items, strict=True):
                if random.random() < share:
                    later = time + datetime.timedelta(seconds=60)
                    events.append({**visit, "item_id": item, "event_type": "purchase", "timestamp": later})
            record = Answered(time=time.timestamp(), request_id=request, version="1", outcome="ok", seconds=0.01,
                              items=tuple(items))  # fmt: skip
            log.write(record)
            shadow_record = Answered(time=time.timestamp(), request_id=request, version="2", outcome="ok", seconds=0.01,
                                     shadow=True, items=tuple(items[::-1]))  # fmt: skip
            log.write(shadow_record)
    log.write(Answered(time=0.0, request_id="of nobody", version="1", outcome="ok", seconds=0.01, items=("i1",)))
    log.close()
    assert not log.dropped
    write_tables(folder, events)
    build(folder / "events", folder / "items", folder / "features", FeatureOptions(horizon_days=10.0))
    config = RetrieverTraining(sampling=SamplingConfig(batch_size=128, seed=3), embedding_dim=8, hidden_dim=16,
                               epochs=1, launch=LAUNCH)  # fmt: skip
    train_retriever(folder / "features", folder / "retriever", config)
    return Shop(folder / "features", folder / "retriever", folder / "log", answers)


def best_positions(shop: Shop, start: int, end: int) -> dict[tuple[int, str], int]:
    """Best position of each (shopper, item) in a window, from a loop over the responses."""
    found: dict[tuple[int, str], int] = {}
    for shopper, time, items in shop.answers.values():
        if start <= int(time.timestamp()) < end:
            for position, item in enumerate(items, 1):
                found[shopper, item] = min(position, found.get((shopper, item), position))
    return found


def test_positions_are_the_best_shown_to_a_shopper_in_the_window(shop):
    timeline, shown = Timeline.read(shop.features / "timeline.json"), read_shown_positions(shop.features, shop.log)
    users = ["", *pq.read_table(shop.features / "users.parquet")["user_id"].to_pylist()]
    names = pq.read_table(shop.features / "items.parquet")["item_id"].to_pylist()
    rows = {name: row for row, name in enumerate(names) if name}
    numbers = {name: row for row, name in enumerate(users) if name}
    assert set(shown) == set(timeline.reference_times()) - {"test"}, (
        "the final training learns the validation window too"
    )
    for name, one in shown.items():
        start = timeline.reference_times()[name]
        expected = best_positions(shop, start, start + timeline.horizon)
        assert len(expected) == len(one.key) > 500
        shoppers = np.array([numbers[f"u{shopper}"] for shopper, _ in expected])
        items = np.array([rows[item] for _, item in expected])
        assert one.at(shoppers, items).tolist() == list(expected.values()), "no shadow's positions among them"
        assert (one.at(shoppers, items[::-1]) == NOT_SHOWN).any(), "others were shown to that shopper"
        assert one.at(np.array([0]), items[:1]).tolist() == [UNKNOWN], "nothing was shown to nobody"


def test_ranker_learns_examination_by_position_from_the_log(shop, tmp_path):
    """Positions are random, so fewer purchases further down mean less examination, not less interest."""
    train(shop.features, shop.retriever, tmp_path / "model", CONFIG.replace(inference_log=str(shop.log)))
    module = load_ranker(tmp_path / "model").examination
    assert module is not None
    examined = module.probabilities().detach().numpy()
    np.testing.assert_allclose(examined, np.array(PURCHASE_RATES) / PURCHASE_RATES[0], atol=0.1)
    assert module.not_shown.sigmoid().item() < 0.1, "all is sold through answers"


def test_anonymous_shoppers_have_the_positions_of_their_originals(shop, tmp_path):
    spec, shown = FeatureSpec.read(shop.features / "spec.json"), read_shown_positions(shop.features, shop.log)
    write_pairs(shop.features, shop.retriever, "ranker-0", tmp_path / "pairs.parquet", CONFIG.candidates,
                shown=shown["ranker-0"], anonymous=1.0)  # fmt: skip
    pairs = PairRows.read([tmp_path / "pairs.parquet"], spec)
    rows = Rows.read(shop.features / "rows" / "ranker-0.parquet", spec)
    assert len(pairs) == 2 * len(rows)
    np.testing.assert_array_equal(
        pairs.position, shown["ranker-0"].at(np.repeat(rows.shopper, 2)[pairs.row], pairs.item)
    )
    assert (pairs.position[np.flatnonzero(pairs.row % 2)] > 0).any()


def test_pairs_carry_the_shown_positions(shop, tmp_path):
    def check_pairs(task, work: Path) -> None:
        spec = FeatureSpec.read(shop.features / "spec.json")
        names = sorted(path.name for path in work.glob("*.parquet"))
        assert "validation.parquet" in names and len(names) == 3
        shown = read_shown_positions(shop.features, shop.log)
        for name in names:
            split = name.removesuffix(".parquet")
            pairs, rows = PairRows.read([work / name], spec), Rows.read(shop.features / "rows" / name, spec)
            np.testing.assert_array_equal(pairs.position, shown[split].at(rows.shopper[pairs.row], pairs.item))
            bought = pairs.label > 0
            assert 0 < (pairs.position > 0).mean() < 0.5 and (pairs.position[bought] > 0).all(), (
                "only what is shown sells"
            )
            assert (pairs.position == NOT_SHOWN).any()
        raise InputError("seen", "enough")

    class CheckingLauncher:
        run = staticmethod(check_pairs)

    with pytest.raises(InputError, match="seen"):
        training = CONFIG.replace(anonymous_share=0.0, inference_log=str(shop.log))
        train(
            shop.features,
            shop.retriever,
            tmp_path / "model",
            training.replace(inference_log=str(shop.log)),
            launcher=CheckingLauncher(),
        )
    assert not list(tmp_path.iterdir()), "nothing half-written"


def test_unusable_logs_and_positions_are_refused(shop, tiny_run, tmp_path):
    with pytest.raises(InputError, match=r"no event of these features carries a request_id"):
        read_shown_positions(tiny_run.features, shop.log)
    with pytest.raises(InputError, match=r"inference_log: .* has no \*.jsonl"):
        read_shown_positions(shop.features, tmp_path)
    other = LogWriter(tmp_path / "other", "pod")
    other.write(Answered(time=0.0, request_id="of nobody", version="1", outcome="ok", seconds=0.01, items=("i1",)))
    other.close()
    with pytest.raises(DataError, match=r"none of the answers .* belongs to a request"):
        read_shown_positions(shop.features, tmp_path / "other")
    plain = RankerTraining(**{**vars(CONFIG), "architecture": RankerArchitecture()})
    with pytest.raises(InputError, match=r"architecture\.positions is 0"):
        train(shop.features, shop.retriever, tmp_path / "model", plain.replace(inference_log=str(shop.log)))
    with pytest.raises(
        InputError, match=r"architecture.positions is 4, but there are no positions of .*\n.*inference_log"
    ):
        train(shop.features, shop.retriever, tmp_path / "model", CONFIG)
    assert not (tmp_path / "model").exists()
