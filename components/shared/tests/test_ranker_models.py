"""Every ranker: the published formulas, the same predictions trained and exported, a JSON round trip."""

import itertools

import numpy as np
import pytest
import torch
from torch.nn.functional import binary_cross_entropy_with_logits

from components.compile_model.config import TableFormat
from components.compile_model.export import export_ranker
from components.compile_model.flat import FlatRanker
from components.shared.features.columns import DenseInput
from components.shared.features.spec import SparseFeature
from components.shared.models.interactions import Factorization, interaction
from components.shared.models.ranker import Ranker, RankerConfig
from components.shared.models.ranker_options import (
    HEADS,
    INTERACTIONS,
    ConcatConfig,
    CrossConfig,
    DotConfig,
    MmoeConfig,
    PleConfig,
    RankerArchitecture,
    SharedBottomConfig,
    TargetAttentionConfig,
)
from components.shared.models.target_attention import TargetAttention
from components.shared.models.task_heads import Experts, mixed, task_heads
from components.shared.recommender.offline import from_padded

USER = (SparseFeature(name="user", rows=7, max_length=1), SparseFeature(name="sequence", rows=11, max_length=4))
ITEM = (SparseFeature(name="item", rows=11, max_length=1), SparseFeature(name="category", rows=5, max_length=2))
DENSE = len(DenseInput)
FP32 = TableFormat(storage="fp32")
ALL = [
    RankerArchitecture(interaction=one(), heads=heads(), attention=attention)
    for one, heads in itertools.product(INTERACTIONS, HEADS)
    for attention in (None, TargetAttentionConfig(hidden_dim=3))
    if attention is None or heads is HEADS[1]
]


def architecture_id(architecture):
    parts = [type(architecture.interaction).__name__, type(architecture.heads).__name__]
    return "-".join([*parts, *(["attention"] if architecture.attention else [])])


def config(architecture):
    return RankerConfig(
        user_features=USER, item_features=ITEM, tasks=("again", "first"), dense_mean=(0.0,) * DENSE,
        dense_std=(1.0,) * DENSE, embedding_dim=6, hidden_dim=8, architecture=architecture,
    )  # fmt: skip


def ranker(architecture, seed=0):
    torch.manual_seed(seed)
    model = Ranker(config(architecture), torch.device("cpu"))
    with torch.no_grad():
        for weights in model.parameters():
            weights.add_(0.1 * torch.randn_like(weights))
    return model.eval()


def pairs(count=9, shoppers=3, seed=1):
    """Ids and weights of shoppers and of items, row, dense; sequences of different lengths, padded with weight 0."""
    random = np.random.default_rng(seed)
    lengths = np.array([0, 2, 4])[:shoppers]
    used = np.arange(4)[None] < lengths[:, None]
    user_ids = np.c_[random.integers(0, 7, shoppers), np.where(used, random.integers(1, 11, (shoppers, 4)), 0)]
    user_weights = np.c_[np.ones(shoppers), used * random.uniform(0.2, 1, used.shape)].astype(np.float32)
    item_ids = np.c_[random.integers(1, 11, count), random.integers(1, 5, (count, 2))]
    item_weights = np.ones((count, 3), np.float32)
    row = np.sort(random.integers(0, shoppers, count))
    dense = random.normal(size=(count, DENSE)).astype(np.float32)
    return (user_ids, user_weights), (item_ids, item_weights), row, dense


@torch.inference_mode()
def probabilities(model, batch):
    user, item, row, dense = batch
    logits = model(from_padded(*user, USER), from_padded(*item, ITEM), torch.from_numpy(row), torch.from_numpy(dense))
    return torch.sigmoid(logits).numpy()


@pytest.mark.parametrize("architecture", ALL, ids=architecture_id)
def test_flat_model_predicts_as_the_trained_model(architecture):
    model, batch = ranker(architecture), pairs()
    expected = probabilities(model, batch)
    assert expected.shape == (9, 2) and expected.std() > 1e-3
    (user_ids, user_weights), (item_ids, item_weights), row, dense = batch
    inputs = [torch.from_numpy(values) for values in (user_ids, user_weights, item_ids, item_weights, row, dense)]
    with torch.inference_mode():
        found = FlatRanker(model, FP32)(*inputs).numpy()
    np.testing.assert_allclose(found, expected, atol=1e-5)


def test_exported_graph_predicts_as_the_trained_model_for_any_batch_size(tmp_path):
    import onnxruntime

    attention = TargetAttentionConfig(hidden_dim=3)
    for at, shape in enumerate((CrossConfig(), ConcatConfig())):
        architecture = RankerArchitecture(interaction=shape, heads=(PleConfig(), MmoeConfig())[at], attention=attention)
        model = ranker(architecture)
        export_ranker(model, 2, tmp_path / "ranker.onnx", FP32)
        items, session = (onnxruntime.InferenceSession(tmp_path / name) for name in ("item.onnx", "ranker.onnx"))
        for count, shoppers in ((1, 1), (40, 3)):
            batch = pairs(count, shoppers)
            (user_ids, user_weights), (item_ids, item_weights), row, dense = batch
            query = np.zeros((shoppers, 2))
            inputs = {
                "user_ids": np.c_[user_ids, query].astype(np.int64),
                "user_weights": np.c_[user_weights, query].astype(np.float32),
                "item_vectors": items.run(None, {"item_ids": item_ids, "item_weights": item_weights})[0],
                "row": row, "dense": dense,
            }  # fmt: skip
            np.testing.assert_allclose(session.run(None, inputs)[0], probabilities(model, batch), atol=1e-5)


@pytest.mark.parametrize("architecture", ALL, ids=architecture_id)
def test_config_survives_a_round_trip(architecture, tmp_path):
    config(architecture).write(tmp_path / "config.json")
    assert RankerConfig.read(tmp_path / "config.json") == config(architecture)


def interaction_inputs(vectors):
    """Return the inputs of an interaction from vectors [P, V, D]: all but the last concatenated, and the last."""
    return vectors[:, :-1].flatten(1), vectors[:, -1]


def test_factorisation_machine_sums_over_all_pairs():
    vectors, dense = torch.randn(5, 4, 3), torch.randn(5, 2)
    module = Factorization(4, 3, 2)
    joined, shallow = module(*interaction_inputs(vectors), dense)
    second = sum((vectors[:, a] * vectors[:, b]).sum(1) for a, b in itertools.combinations(range(4), 2))
    assert shallow is not None
    torch.testing.assert_close(shallow[:, 0], second + module.first_order(joined)[:, 0])


@pytest.mark.parametrize("rank", [0, 2])
def test_cross_layer_multiplies_its_input_with_a_linear_transform(rank):
    module = interaction(CrossConfig(layers=1, rank=rank), 2, 3, 1)
    vectors, dense = torch.randn(4, 2, 3), torch.randn(4, 1)
    features, shallow = module(*interaction_inputs(vectors), dense)
    joined = torch.cat([vectors.flatten(1), dense], 1)
    weights = dict(module.named_parameters())
    kernel = weights["cross.kernels.0"] if not rank else weights["cross.W_kernels.0"] @ weights["cross.V_kernels.0"]
    crossed = joined * (joined @ kernel.T + weights["cross.bias.0"].reshape(-1)) + joined
    assert shallow is None
    torch.testing.assert_close(features, torch.cat([crossed, joined], 1))


def test_dot_interaction_contains_every_pair_once():
    vectors, dense = torch.randn(4, 3, 5), torch.randn(4, 2)
    features, _ = interaction(DotConfig(), 3, 5, 2)(*interaction_inputs(vectors), dense)
    products = [(vectors[:, a] * vectors[:, b]).sum(1) for a, b in itertools.combinations(range(3), 2)]
    torch.testing.assert_close(features, torch.cat([torch.stack(products, 1), vectors[:, -1], dense], 1))


def test_mixture_is_a_weighted_mean_of_its_experts():
    experts = torch.randn(6, 3, 4)
    torch.testing.assert_close(mixed(experts, torch.zeros(6, 3)), experts.mean(1))
    torch.testing.assert_close(mixed(experts, torch.tensor([[0.0, 50.0, 0.0]]).expand(6, 3)), experts[:, 1])
    module = Experts(5, 4, 3)
    features = torch.randn(2, 5)
    weight, bias = module.layer.weight.unflatten(0, (3, 4)), module.layer.bias.unflatten(0, (3, 4))
    one_by_one = torch.stack([torch.relu(features @ weight[at].T + bias[at]) for at in range(3)], 1)
    torch.testing.assert_close(module(features), one_by_one)


@pytest.mark.parametrize("heads", HEADS)
def test_unshared_parameters_get_no_gradient_from_the_other_task(heads):
    """Towers, gates and PLE's own experts learn from their own task only; shared parts learn from both."""
    torch.manual_seed(0)
    module = task_heads(heads(), 5, 16, 2)
    module(torch.randn(64, 5))[:, 0].sum().backward()
    untouched = {name for name, weights in module.named_parameters() if weights.grad is None or not weights.grad.any()}
    independent = {
        "SingleTaskConfig": ("towers.1",), "SharedBottomConfig": (), "MmoeConfig": ("gates.1", "towers.1"),
        "PleConfig": ("layers.1.own.1", "layers.1.gates.1", "layers.0.gates.1", "towers.1"),
    }[heads.__name__]  # fmt: skip
    if heads is SharedBottomConfig:
        assert untouched == set(), "one matrix holds the logits of both"
    else:
        assert untouched == {name for name, _ in module.named_parameters() if name.startswith(independent)}


def test_target_attention_matches_the_formula_of_the_activation_unit():
    torch.manual_seed(0)
    unit = TargetAttention(TargetAttentionConfig(hidden_dim=3), 4)
    behaviour, weight, target = torch.randn(2, 5, 4), torch.rand(2, 5), torch.randn(3, 4)
    row = torch.tensor([0, 1, 1])
    first = torch.cat([unit.behaviour.weight, unit.target.weight, unit.product.T], 1)
    for pair in range(3):
        expected = torch.zeros(4)
        for position in range(5):
            own = behaviour[row[pair], position]
            joined = torch.cat([own, target[pair], own * target[pair]])
            activation = unit.outcome(torch.sigmoid(first @ joined + unit.behaviour.bias))
            expected = expected + activation * weight[row[pair], position] * own
        torch.testing.assert_close(unit(behaviour, weight, target, row)[pair], expected)


def test_attention_learns_a_relation_that_pooling_cannot():
    """An item is relevant if the random sequence contains it, so only the relation of both can be learned."""
    torch.manual_seed(0)
    found = {}
    for attention in (None, TargetAttentionConfig(hidden_dim=8)):
        model = Ranker(config(RankerArchitecture(interaction=ConcatConfig(), attention=attention)), torch.device("cpu"))
        optimizer, random = torch.optim.Adam(model.parameters(), lr=0.01), np.random.default_rng(0)
        losses = []
        for _ in range(300):
            sequence = random.permuted(np.tile(np.arange(1, 11), (64, 1)), axis=1)[:, :4]
            item = np.where(random.random(64) < 0.5, sequence[:, 0], random.integers(1, 11, 64))
            label = torch.from_numpy((sequence == item[:, None]).any(1).astype(np.float32))
            users = from_padded(np.c_[np.zeros(64, np.int64), sequence], np.ones((64, 5), np.float32), USER)
            items = from_padded(np.c_[item, np.ones((64, 2), np.int64)], np.ones((64, 3), np.float32), ITEM)
            logits = model(users, items, torch.arange(64), torch.zeros(64, DENSE))
            loss = binary_cross_entropy_with_logits(logits[:, 0], label)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            losses.append(loss.item())
        found[attention is not None] = float(np.mean(losses[-50:]))
    assert found[True] < 0.7 * found[False]
