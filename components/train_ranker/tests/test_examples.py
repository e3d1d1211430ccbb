"""Training pairs: the candidates that serving would retrieve, labelled by the purchases that followed."""

import numpy as np
import pytest

from components.shared.features.columns import DenseInput
from components.shared.features.rows import Rows
from components.shared.recommender.candidates import CandidateConfig
from components.shared.recommender.offline import open_offline
from components.train_ranker.examples import PairRows, write_pairs

CANDIDATES = CandidateConfig(own=30, retrieved=20, popular=5, similar=20)


@pytest.fixture(scope="module")
def written(tiny_run, tmp_path_factory):
    """Pairs of the validation split, with the recommender and the rows they come from."""
    path = tmp_path_factory.mktemp("pairs") / "validation.parquet"
    count = write_pairs(tiny_run.features, tiny_run.retriever, "validation", path, CANDIDATES)
    recommender = open_offline(tiny_run.features, tiny_run.retriever, None, CANDIDATES, "validation")
    rows = Rows.read(tiny_run.features / "rows" / "validation.parquet", recommender.spec)
    return PairRows.read([path], recommender.spec), recommender, rows, count, path


def test_labels_mark_the_items_bought_in_the_window(written):
    pairs, _, rows, count, _ = written
    assert len(pairs) == len(rows) and len(pairs.item) == count
    for shopper in range(len(pairs)):
        at = slice(pairs.offsets[shopper], pairs.offsets[shopper + 1])
        bought = set(rows.targets.take(np.array([shopper])).values.tolist())
        assert pairs.label[at].tolist() == [float(item in bought) for item in pairs.item[at].tolist()]
        assert (np.diff(pairs.item[at]) > 0).all(), "each candidate once"
    assert (pairs.item > 0).all() and 0 < pairs.label.mean() < 0.5


def test_live_shopper_has_the_same_pairs_and_features_as_in_the_batch(written):
    pairs, recommender, rows, _, _ = written
    for shopper in range(0, len(pairs), 9):
        one = np.array([shopper])
        histories = recommender.store.before(rows.shopper[one], rows.timestamp[one], recommender.spec.max_history)
        live = recommender.candidates(histories)
        at = slice(pairs.offsets[shopper], pairs.offsets[shopper + 1])
        np.testing.assert_array_equal(live.found.item, pairs.item[at])
        np.testing.assert_allclose(live.dense, pairs.dense[at], rtol=1e-5, atol=1e-5)
        for name, ragged in live.features.items():
            np.testing.assert_array_equal(ragged.values, pairs.features[name].take(one).values, name)
            assert ragged.weights.tobytes() == pairs.features[name].take(one).weights.tobytes(), name


def test_take_picks_shoppers_with_all_their_pairs(written):
    pairs = written[0]
    picked = pairs.take(np.array([5, 0, 5]))
    pieces = [slice(pairs.offsets[at], pairs.offsets[at + 1]) for at in (5, 0, 5)]
    np.testing.assert_array_equal(picked.item, np.concatenate([pairs.item[piece] for piece in pieces]))
    np.testing.assert_array_equal(picked.dense, np.concatenate([pairs.dense[piece] for piece in pieces]))
    assert picked.row.tolist() == [row for row, piece in enumerate(pieces) for _ in range(piece.stop - piece.start)]


def test_multiple_files_are_concatenated(written):
    pairs, recommender, _, _, path = written
    twice = PairRows.read([path, path], recommender.spec)
    assert len(twice) == 2 * len(pairs)
    np.testing.assert_array_equal(twice.item, np.tile(pairs.item, 2))
    np.testing.assert_array_equal(twice.take(np.array([len(pairs) + 3])).dense, pairs.take(np.array([3])).dense)


def test_number_of_shoppers_can_be_limited(written, tiny_run, tmp_path):
    count = write_pairs(tiny_run.features, tiny_run.retriever, "validation", tmp_path / "few.parquet", CANDIDATES, 4)
    assert count == written[0].offsets[4]


def test_anonymous_shoppers_are_copies_without_user_and_history(written, tiny_run, tmp_path):
    plain, recommender = written[:2]
    path = tmp_path / "both.parquet"
    write_pairs(tiny_run.features, tiny_run.retriever, "validation", path, CANDIDATES, anonymous=0.4)
    both = PairRows.read([path], recommender.spec)
    added = len(both) - len(plain)
    assert 0.2 < added / len(plain) < 0.6
    anonymous = np.flatnonzero(both.features["sequence"].lengths == 0)
    assert len(anonymous) == added, "everybody here has a history"
    assert not both.features["user"].take(anonymous).values.any()
    known = both.take(np.setdiff1d(np.arange(len(both)), anonymous))
    np.testing.assert_array_equal(known.item, plain.item)
    np.testing.assert_array_equal(known.label, plain.label)
    first = both.take(anonymous[:1])
    for at in anonymous.tolist():
        one, original = both.take(np.array([at])), both.take(np.array([at - 1]))
        np.testing.assert_array_equal(one.item, first.item, "nothing tells anonymous shoppers apart")
        np.testing.assert_allclose(one.dense, first.dense, rtol=1e-5, atol=1e-5)
        assert not one.dense[:, [DenseInput.BOUGHT_BEFORE, DenseInput.USER_EVENTS, DenseInput.SIMILAR]].any()
        shared, copied, source = np.intersect1d(one.item, original.item, return_indices=True)
        assert len(shared) and one.label[copied].tolist() == original.label[source].tolist(), (
            "it took what its original did"
        )
