"""Speed optimisations do not change results: interaction, length buckets, bfloat16, aligned layers."""

import pytest
import torch
from torch.autograd import gradcheck
from torchrec import EmbeddingBagCollection, EmbeddingBagConfig, KeyedJaggedTensor, KeyedTensor

from components.shared.errors import InputError
from components.shared.features.spec import SparseFeature
from components.shared.models.aligned_linear import AlignedLinear
from components.shared.models.encoders.config import AttentionConfig, HstuConfig
from components.shared.models.encoders.encoder import SequenceEncoder
from components.shared.models.encoders.rows import JaggedRows
from components.shared.models.interactions import Dot
from components.shared.models.retriever import concat_pooled
from components.shared.training.compute_dtype import autocast, multiplies_bfloat16

CPU = torch.device("cpu")
needs_bfloat16 = pytest.mark.skipif(not multiplies_bfloat16(CPU), reason="this CPU does not multiply bfloat16")


@pytest.mark.parametrize("dense", [0, 3])
def test_dot_interaction_outputs_and_gradients_are_correct(dense):
    interaction = Dot(5, 3, dense)
    torch.manual_seed(0)
    embedded = torch.randn(4, 12, dtype=torch.float64, requires_grad=True)
    last = torch.randn(4, 3, dtype=torch.float64, requires_grad=True)
    numbers = torch.randn(4, dense, dtype=torch.float64)
    assert gradcheck(lambda *both: interaction(*both, numbers)[0], (embedded, last))
    with torch.no_grad():
        scored = interaction(embedded, last, numbers)[0]
    assert torch.allclose(interaction(embedded, last, numbers)[0], scored) and scored.shape == (4, interaction.width)
    assert scored[2, 1] == pytest.approx(float((embedded[2, :3] @ embedded[2, 6:9]).detach()))
    assert scored[2, 3] == pytest.approx(float((embedded[2, :3] @ last[2]).detach()))


@needs_bfloat16
def test_dot_interaction_gradients_in_bfloat16_are_close_to_float32():
    interaction = Dot(27, 32, 13)
    torch.manual_seed(0)
    both = torch.randn(64, 26 * 32, requires_grad=True), torch.randn(64, 32, requires_grad=True)
    numbers = torch.randn(64, 13)
    expected = torch.autograd.grad(interaction(*both, numbers)[0].square().mean(), both)
    with autocast("bfloat16", CPU):
        features = interaction(*both, numbers)[0]
    assert features.dtype == torch.bfloat16
    for one, other in zip(torch.autograd.grad(features.float().square().mean(), both), expected, strict=True):
        assert one.dtype == torch.float32 and (one - other).norm() < 0.02 * other.norm()


@pytest.mark.parametrize("config", [
    AttentionConfig(layers=2, heads=2, hidden_dim=16, max_length=40, dropout=0.0),
    HstuConfig(layers=2, heads=2, max_length=40, dropout=0.0),
], ids=lambda config: type(config).__name__)  # fmt: skip
def test_length_buckets_match_one_padded_batch_forward_and_backward(config):
    lengths = torch.tensor([0, 3, 8, 9, 17, 40, 1, 16, 33])
    offsets = torch.nn.functional.pad(lengths.cumsum(0), (1, 0))
    torch.manual_seed(1)
    model = SequenceEncoder(config, 8)
    for weights in model.parameters():
        torch.nn.init.normal_(weights, std=0.3)
    tokens = torch.randn(int(lengths.sum()), 8)
    used = torch.arange(40)[None] < lengths[:, None]
    rectangle = torch.zeros(len(lengths), 40, 8).masked_scatter(used.unsqueeze(2), tokens)
    packed, padded = model(tokens, offsets), model.padded(rectangle)[used]
    assert torch.allclose(packed, padded, atol=1e-5)
    gradients = [torch.autograd.grad(one.square().sum(), list(model.body.parameters())) for one in (packed, padded)]
    largest = max(float(one.abs().max()) for one in gradients[1])
    for one, other in zip(*gradients, strict=True):
        assert torch.allclose(one, other, rtol=1e-3, atol=1e-6 * largest)


def test_length_buckets_contain_every_token_once():
    lengths = torch.tensor([1, 8, 9, 16, 17, 32, 33, 50, 0, 5])
    rows = JaggedRows(torch.nn.functional.pad(lengths.cumsum(0), (1, 0)), int(lengths.sum()))
    assert torch.cat([bucket.tokens for bucket in rows.buckets]).sort().values.tolist() == list(range(171))
    assert [bucket.length for bucket in rows.buckets] == [8, 16, 32, 50]
    assert [bucket.rows for bucket in rows.buckets] == [4, 2, 2, 2]


def test_pooled_embeddings_are_reordered_only_if_their_order_differs():
    features = tuple(SparseFeature(name=name, rows=4, max_length=1) for name in ("a", "b"))
    bags = EmbeddingBagCollection(tables=[
        EmbeddingBagConfig(name=f"t_{one.name}", embedding_dim=2, num_embeddings=4, feature_names=[one.name])
        for one in features
    ])  # fmt: skip
    pooled = bags(KeyedJaggedTensor(["a", "b"], torch.tensor([1, 2, 3]), lengths=torch.tensor([1, 1, 0, 1])))
    assert isinstance(pooled, KeyedTensor)
    assert concat_pooled(pooled, features).data_ptr() == pooled.values().data_ptr()
    assert torch.equal(concat_pooled(pooled, features[::-1]), torch.cat([pooled["b"], pooled["a"]], 1))


def test_unsupported_compute_dtype_is_refused(monkeypatch):
    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: False)
    monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda: False)
    with pytest.raises(InputError, match="this cpu device"):
        autocast("bfloat16", CPU)
    with autocast("float32", CPU):
        assert not torch.is_autocast_enabled("cpu")


@pytest.mark.parametrize("inputs", [13, 16, 383])
def test_aligned_linear_matches_linear_forward_and_backward(inputs):
    torch.manual_seed(0)
    aligned, plain = AlignedLinear(inputs, 5), torch.nn.Linear(inputs, 5)
    plain.load_state_dict(aligned.state_dict())
    given = torch.randn(7, inputs, requires_grad=True)
    assert torch.allclose(aligned(given), plain(given), atol=1e-5)
    gradients = [torch.autograd.grad(one(given).square().sum(), [given, *one.parameters()]) for one in (aligned, plain)]
    for one, other in zip(*gradients, strict=True):
        assert one.shape == other.shape and torch.allclose(one, other, atol=1e-4)
