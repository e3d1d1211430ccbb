"""Sequence encoders: causality, packed against padded tokens, export, learning; the item tower and its scores."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from components.shared.errors import InputError
from components.shared.features.ragged import Ragged
from components.shared.models.encoders.config import (
    AttentionConfig,
    ConvConfig,
    GruConfig,
    HstuConfig,
    PooledConfig,
)
from components.shared.models.encoders.encoder import SequenceEncoder
from tests.benchmarks.published.item_tower import ItemFeatures, ItemTower, ItemTowerConfig
from tests.benchmarks.published.sequence_retriever import (
    ScoringConfig,
    SequenceRetriever,
    SequenceRetrieverConfig,
)

DIM = 8
CONFIGS = [
    PooledConfig(hidden_dim=12, dropout=0.0),
    GruConfig(hidden_dim=12, layers=2, dropout=0.0),
    ConvConfig(kernel=3, dilations=(1, 2), dropout=0.0),
    AttentionConfig(layers=2, heads=2, hidden_dim=16, max_length=12, dropout=0.0),
    HstuConfig(layers=2, heads=2, max_length=12, dropout=0.0),
]
every_encoder = pytest.mark.parametrize("config", CONFIGS, ids=lambda config: type(config).__name__)


def encoder(config, seed: int = 0) -> SequenceEncoder:
    torch.manual_seed(seed)
    model = SequenceEncoder(config, DIM).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.normal_(std=0.4)
    return model


def random_tokens(lengths: list[int], seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    offsets = F.pad(torch.tensor(lengths, dtype=torch.int64).cumsum(0), (1, 0))
    return torch.randn(sum(lengths), DIM, generator=generator), offsets


@every_encoder
def test_changed_item_affects_only_its_own_and_later_positions(config):
    tokens, offsets = random_tokens([5, 1, 7])
    model, at = encoder(config), 9
    before = model(tokens, offsets)
    changed = tokens.clone()
    changed[at] = 2 * changed[at].flip(0)
    after = model(changed, offsets)
    assert torch.allclose(before[:at], after[:at], atol=1e-6)
    affected = (before - after).abs().amax(1) > 1e-5
    assert affected[at:].all(), "the item itself and all later ones see the change"


@every_encoder
@settings(max_examples=15, deadline=None)
@given(lengths=st.lists(st.integers(0, 12), min_size=1, max_size=6), seed=st.integers(0, 99))
def test_packed_and_padded_tokens_give_the_same_vectors(config, lengths, seed):
    tokens, offsets = random_tokens(lengths, seed)
    model = encoder(config, seed)
    padded = torch.full((len(lengths), 12, DIM), 5.0)
    for row, length in enumerate(lengths):
        padded[row, :length] = tokens[offsets[row] : offsets[row + 1]]
    packed = model.last(tokens, offsets)
    assert torch.allclose(model.last_padded(padded, torch.tensor(lengths)), packed, atol=1e-4)
    for row, length in enumerate(lengths):
        if length == 0:
            assert torch.equal(packed[row], model.empty)


@pytest.mark.filterwarnings("ignore:The tensor attributes.*_flat_weights:UserWarning")
@every_encoder
def test_padded_form_can_be_exported(config):
    model = encoder(config)

    class Users(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.model = model

        def forward(self, tokens, lengths):
            return self.model.last_padded(tokens, lengths)

    example = (torch.randn(3, 12, DIM), torch.tensor([12, 0, 4]))
    exported = torch.export.export(Users(), example)
    assert torch.allclose(exported.module()(*example), model.last_padded(*example), atol=1e-6)


@every_encoder
def test_encoder_learns_to_predict_the_next_item(config):
    torch.manual_seed(0)
    retriever = SequenceRetriever(
        SequenceRetrieverConfig(tower=ItemTowerConfig(rows=11, dim=16), encoder=config), ItemFeatures(bags={})
    )
    optimizer = torch.optim.Adam(retriever.parameters(), lr=0.02)
    random = np.random.default_rng(0)
    offsets = torch.arange(0, 16 * 5 + 1, 5)
    for _ in range(120):
        first = random.integers(0, 10, (16, 1))
        rows = torch.from_numpy((first + np.arange(6)) % 10 + 1)
        items, bias = retriever.items()
        users = retriever.every_prefix(items, rows[:, :-1].flatten(), offsets)
        optimizer.zero_grad()
        F.cross_entropy(users @ items.T + bias, rows[:, 1:].flatten()).backward()
        optimizer.step()
    retriever.eval()
    vectors, bias = retriever.items()
    queries = torch.tensor([4, 5, 6, 9, 10])
    users = retriever.user_vectors(vectors, queries, torch.tensor([0, 3, 5]))
    assert (users @ retriever.item_side(vectors).T + bias).argmax(1).tolist() == [7, 1]


def bag(rows: list[list[int]]) -> Ragged:
    lengths = [len(row) for row in rows]
    return Ragged.mean(
        np.concatenate([[0], np.cumsum(lengths)]), np.array([value for row in rows for value in row], np.int64)
    )


def test_item_vector_is_the_sum_of_its_id_attributes_and_content():
    features = ItemFeatures(bags={"brand": bag([[], [1], [2, 3]])}, content=np.eye(3, 2, dtype=np.float32))
    tower = ItemTower(ItemTowerConfig(rows=3, dim=4, bags=(("brand", 4),), content_dim=2), features).eval()
    vectors, bias = tower()
    brand, content = tower.bags["brand"].weight, tower.content
    assert torch.allclose(vectors[2], tower.ids.weight[2] + (brand[2] + brand[3]) / 2 + content.bias, atol=1e-6)
    assert torch.allclose(vectors[1], tower.ids.weight[1] + brand[1] + content.weight[:, 1] + content.bias, atol=1e-6)
    assert bias.shape == (3,)


def test_without_ids_items_with_equal_attributes_have_equal_vectors():
    tower = ItemTower(
        ItemTowerConfig(rows=3, dim=4, ids=False, bags=(("brand", 3),)),
        ItemFeatures(bags={"brand": bag([[], [1], [1]])}),
    )
    vectors, _ = tower()
    assert torch.equal(vectors[1], vectors[2]) and not torch.equal(vectors[0], vectors[1])


def test_id_dropout_removes_the_id_embedding_in_training():
    features = ItemFeatures(bags={"brand": bag([[], [1], [2]])})
    tower = ItemTower(ItemTowerConfig(rows=3, dim=4, bags=(("brand", 3),), id_dropout=1.0), features)
    dropped, kept = tower.train()()[0], tower.eval()()[0]
    assert torch.allclose(dropped[1], tower.bags["brand"].weight[1]) and not torch.allclose(dropped[1], kept[1])


@pytest.mark.parametrize(
    ("config", "message"),
    [
        (ItemTowerConfig(rows=3, dim=4, ids=False), "neither ids"),
        (ItemTowerConfig(rows=3, dim=4, bags=(("colour", 3),)), "bag 'colour' has no features"),
        (ItemTowerConfig(rows=3, dim=4, bags=(("brand", 2),)), "ids up to 2"),
        (ItemTowerConfig(rows=4, dim=4, bags=(("brand", 3),)), "has 3 rows"),
        (ItemTowerConfig(rows=3, dim=4, content_dim=2), "content vectors"),
    ],
)
def test_features_that_do_not_match_the_config_are_refused(config, message):
    with pytest.raises(InputError, match=message):
        ItemTower(config, ItemFeatures(bags={"brand": bag([[], [1], [2]])}))


def test_normalised_scores_are_cosines_over_the_temperature():
    scoring = ScoringConfig(normalise=True, temperature=0.25)
    config = SequenceRetrieverConfig(tower=ItemTowerConfig(rows=9, dim=DIM), encoder=CONFIGS[0], scoring=scoring)
    retriever = SequenceRetriever(config, ItemFeatures(bags={})).eval()
    raw, bias = retriever.items()
    items, users = retriever.item_side(raw), retriever.every_prefix(raw, torch.tensor([1, 2, 3]), torch.tensor([0, 3]))
    assert torch.allclose(users.norm(dim=1), torch.tensor(4.0)) and torch.allclose(items.norm(dim=1), torch.tensor(1.0))
    assert not bias.any(), "no bias unless asked for"
