"""The champion's answers for the same shoppers, from this run's histories; items and users are matched by id."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from components.evaluate_model.answers import fill
from components.evaluate_model.baselines import Lists
from components.shared.errors import BundleError, InputError
from components.shared.features.columns import DenseInput
from components.shared.features.history import Histories
from components.shared.features.ragged import offsets_of
from components.shared.recommender.recommender import Recommender
from components.shared.release.registry import CHAMPION, Registry
from components.shared.release.trust import trusted


@dataclass(frozen=True)
class ChampionAnswers:
    """The champion's answers, or the reason why there are none.

    Attributes:
        name: Folder name of the bundle, which is its version in a registry.
        lists: None if the bundle could not be opened.
        comparable: Whether the comparison may affect the decision.
        note: Explanation for reports; empty if the comparison is unrestricted.
    """

    name: str
    lists: Lists | None
    comparable: bool
    note: str = ""


def champion_of(registry: str, model_name: str) -> Path | None:
    """The champion's bundle, or None when there is no registry, no such model or no champion yet."""
    if not registry or not model_name:
        return None
    found = Registry(registry)
    return found.resolve(f"{model_name}/{CHAMPION}") if CHAMPION in found.aliases(model_name) else None


def champion_answers(
    bundle: Path, ours: Recommender, shoppers: np.ndarray, histories: Histories, k: int, public_key: str = ""
) -> ChampionAnswers:
    """Rank the champion's catalog for the shoppers of the test split.

    The champion uses its own item statistics, because in service it would not have newer ones either.

    Args:
        bundle: A bundle folder.
        ours: The evaluated recommender; the answers use its catalog rows.
        shoppers: int64 [rows], shopper indexes of this run.
        histories: Their histories before the test time.
        k: Length of the lists.
        public_key: Public key file to verify the champion; empty: only its files are verified, and native code is not
            run.
    """
    try:
        trusted(bundle, public_key)
        champion = Recommender.open(bundle)
    except (BundleError, InputError) as error:
        # A champion with an older format or signed with another key must not block every later model.
        note = f"The champion {bundle.name} cannot be opened ({error.headline}), so it was not compared."
        return ChampionAnswers(bundle.name, None, False, note)
    lists = _ranked(champion, ours, recode(histories, shoppers, ours, champion), k)
    test_time = int(histories.now.max(initial=0))
    if champion.spec.as_of > test_time:
        note = (
            f"The champion {bundle.name} was trained up to {_day(champion.spec.as_of)}, the test window starts "
            f"on {_day(test_time)}: it has seen the test data, so the comparison is informative only."
        )
        return ChampionAnswers(bundle.name, lists, False, note)
    if champion.spec.target_event != ours.spec.target_event:
        note = (
            f"The champion {bundle.name} predicts the event '{champion.spec.target_event}', this model "
            f"'{ours.spec.target_event}', so the comparison is informative only."
        )
        return ChampionAnswers(bundle.name, lists, False, note)
    return ChampionAnswers(bundle.name, lists, True)


def recode(histories: Histories, shoppers: np.ndarray, ours: Recommender, champion: Recommender) -> Histories:
    """Convert histories to the champion's rows: items by item id (unknown ones are dropped), users by user id."""
    row_of = _item_rows(ours, champion)
    item = row_of[histories.item]
    known = item > 0
    name_of = {row: name for name, row in ours.user_row.items()}
    user = np.array([champion.user_row.get(name_of.get(int(shopper), ""), 0) for shopper in shoppers], np.int64)
    lengths = np.bincount(histories.row[known], minlength=len(histories))
    recoded = Histories(
        np.where(user <= champion.store.known_users, user, 0), histories.now, offsets_of(lengths), item[known],
        histories.event_type[known], histories.timestamp[known], histories.price[known],
    )  # fmt: skip
    return recoded.last(champion.spec.max_history)


def _item_rows(source: Recommender, target: Recommender) -> np.ndarray:
    """Row in `target`'s catalog of every row of `source`'s, 0 for missing items, int64 [items of source]."""
    rows = np.zeros(len(source.catalog), np.int64)
    for item_id, row in source.catalog.row_of.items():
        rows[row] = target.catalog.row_of.get(item_id, 0)
    return rows


def _ranked(champion: Recommender, ours: Recommender, histories: Histories, k: int, part: int = 64) -> Lists:
    """Answers in our catalog rows; the position of an item that our catalog lacks stays empty."""
    row_of = _item_rows(champion, ours)
    overall, first = np.zeros((len(histories), k), np.int64), np.zeros((len(histories), k), np.int64)
    for start in range(0, len(histories), part):
        rows = np.arange(start, min(start + part, len(histories)))
        for row, answer in zip(rows, champion.rank(_rows(histories, rows), len(champion.catalog)), strict=True):
            fill(overall[row], row_of[answer.item])
            fill(first[row], row_of[answer.item[answer.dense[:, DenseInput.BOUGHT_BEFORE] == 0]])
    return Lists(overall, first)


def _rows(histories: Histories, rows: np.ndarray) -> Histories:
    """Histories of consecutive rows."""
    start, end = histories.offsets[rows[0]], histories.offsets[rows[-1] + 1]
    events = slice(start, end)
    return Histories(
        histories.user[rows], histories.now[rows], histories.offsets[rows[0] : rows[-1] + 2] - start,
        histories.item[events], histories.event_type[events], histories.timestamp[events], histories.price[events],
    )  # fmt: skip


def _day(test_time: int) -> str:
    return str(np.datetime64(test_time, "s").astype("datetime64[D]"))
