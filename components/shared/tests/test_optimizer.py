"""Optimiser rules against plain torch, and the validation of their options."""

import pytest
import torch
import torch.distributed as dist
import torch.nn.functional as F
from torch import nn
from torchrec import KeyedJaggedTensor
from torchrec.optim import RowWiseAdagrad

from components.shared.errors import InputError
from components.shared.tests.small_worker import FEATURES, Small
from components.shared.training.group import Group
from components.shared.training.optimizer import OptimizerConfig
from components.shared.training.pipelining import compile_dense
from components.shared.training.sharding import distribute, initial_weights

CPU = torch.device("cpu")
RULES = [
    OptimizerConfig(rule="rowwise_adagrad", embedding_lr=0.1, dense_lr=0.01),
    OptimizerConfig(rule="rowwise_adagrad", embedding_lr=0.1, dense_lr=0.01, sharding=("data_parallel",)),
    OptimizerConfig(rule="sgd", embedding_lr=2.0, dense_lr=0.1),
    OptimizerConfig(rule="sgd", embedding_lr=2.0, dense_lr=0.1, sharding=("data_parallel",)),
    OptimizerConfig(rule="adam", embedding_lr=0.05, dense_lr=0.01, sharding=("data_parallel",)),
    OptimizerConfig(rule="adamw", embedding_lr=0.05, dense_lr=0.01, sharding=("data_parallel",)),
]


@pytest.fixture
def group():
    """A process group of one."""
    dist.init_process_group("gloo", store=dist.HashStore(), rank=0, world_size=1)
    yield Group(0, 1, CPU)
    dist.destroy_process_group()


def batches() -> list[tuple[torch.Tensor, torch.Tensor, torch.Tensor]]:
    """Ids of either feature, [B, 1] and [B, 3], and labels; the last rows of the tables are never looked up."""
    random = torch.Generator().manual_seed(1)
    return [
        (torch.randint(40, (16, 1), generator=random), torch.randint(200, (16, 3), generator=random),
         torch.randint(2, (16,), generator=random).float())
        for _ in range(12)
    ]  # fmt: skip


class Plain(nn.Module):
    """`Small` without TorchRec."""

    def __init__(self, top: nn.Linear):
        super().__init__()
        starts = {one.name: initial_weights(f"bags.embedding_bags.{one.name}.weight", torch.Size([one.rows, 8]), 0)
                  for one in FEATURES}  # fmt: skip
        self.tables = nn.ParameterDict(starts)
        self.top = nn.Linear(16, 1)
        self.top.load_state_dict(top.state_dict())

    def forward(self, short, long) -> torch.Tensor:
        pooled = [F.embedding_bag(short, self.tables["short"], mode="sum"),
                  F.embedding_bag(long, self.tables["long"], mode="sum")]  # fmt: skip
        return self.top(torch.cat(pooled, 1))[:, 0]


def plain_optimizers(config: OptimizerConfig, model: Plain) -> list[torch.optim.Optimizer]:
    tables, dense = list(model.tables.values()), list(model.top.parameters())
    match config.rule:
        case "rowwise_adagrad":
            return [RowWiseAdagrad(tables, lr=config.embedding_lr, eps=1e-8), torch.optim.Adam(dense, config.dense_lr)]
        case "sgd":
            return [torch.optim.SGD(tables, config.embedding_lr), torch.optim.SGD(dense, config.dense_lr)]
        case "adam":
            return [torch.optim.Adam(tables, config.embedding_lr), torch.optim.Adam(dense, config.dense_lr)]
        case _:
            return [torch.optim.AdamW(tables, config.embedding_lr), torch.optim.AdamW(dense, config.dense_lr)]


@pytest.mark.filterwarnings("ignore:.*an autograd kernel was not registered:UserWarning")
@pytest.mark.parametrize("decay", [False, True])
@pytest.mark.parametrize("config", RULES, ids=lambda config: f"{config.rule}-{config.sharding[0]}")
def test_optimizer_rule_matches_plain_torch(group, config, decay):
    torch.manual_seed(0)
    sharded, optimizer = distribute(Small(torch.device("meta")), group, config)
    plain = Plain(sharded.module.top)
    others = plain_optimizers(config, plain)
    for step, (short, long, label) in enumerate(batches()):
        if decay and step:
            # As the training loop does; fused tables must use the new rate as well.
            for param_group in [*optimizer.param_groups, *(one for other in others for one in other.param_groups)]:
                param_group["lr"] *= (12 - step) / (13 - step)
        values, lengths = torch.cat([short.flatten(), long.flatten()]), torch.tensor([1] * 16 + [3] * 16)
        ids = KeyedJaggedTensor(["short", "long"], values, torch.ones(len(values)), lengths)
        optimizer.zero_grad()
        loss = F.binary_cross_entropy_with_logits(sharded(ids), label)
        loss.backward()
        optimizer.step()
        for other in others:
            other.zero_grad()
        expected = F.binary_cross_entropy_with_logits(plain(short, long), label)
        expected.backward()
        for other in others:
            other.step()
        assert loss.item() == pytest.approx(expected.item(), rel=1e-5)
    for name, start in plain.tables.items():
        found = sharded.state_dict()[f"bags.embedding_bags.{name}.weight"]
        table = found if isinstance(found, torch.Tensor) and not hasattr(found, "local_shards") else (
            found.local_shards()[0].tensor)  # fmt: skip
        assert torch.allclose(table, start, atol=2e-5), name
    assert torch.allclose(sharded.module.top.weight, plain.top.weight, atol=2e-5)


@pytest.mark.parametrize("when", ["gpu", "never"])
def test_dense_layers_are_compiled_on_a_cpu_only_with_always(when, monkeypatch):
    monkeypatch.setenv("CXX", "no-such-compiler")
    layer = nn.Linear(2, 1)
    compile_dense(layer, CPU, when)
    assert layer(torch.ones(1, 2)).shape == (1, 1)
    with pytest.raises(InputError, match=r"compile is 'always'.*'no-such-compiler' on PATH\n.*set compile to gpu"):
        compile_dense(layer, CPU, "always")


@pytest.mark.parametrize("rule", ["adam", "adamw"])
def test_rule_with_dense_gradients_implies_data_parallel_sharding(rule):
    assert OptimizerConfig.read({"rule": rule}, "optimizer").sharding == ("data_parallel",)
    with pytest.raises(InputError, match=rf"rule is '{rule}'.*sharding is \['row_wise'\]\n.*data_parallel"):
        OptimizerConfig.read({"rule": rule, "sharding": ["row_wise"]}, "optimizer")


@pytest.mark.parametrize(
    ("raw", "message"),
    [
        ({"lr": 0.1}, "optimizer.lr is not an option\n.*embedding_lr, dense_lr, rule, compute_dtype, sharding"),
        ({"weight_decay": 0.1}, "optimizer.weight_decay is not an option"),
        ({"precision": "float16"}, "optimizer.precision is not an option"),
        ({"rule": "lamb"}, "optimizer.rule is 'lamb'\n.*rowwise_adagrad, sgd, adam, adamw"),
        ({"compile": True}, "optimizer.compile is true\n.*gpu, always, never"),
        ({"compute_dtype": "float16"}, "optimizer.compute_dtype is 'float16'\n.*float32, bfloat16"),
        ({"embedding_lr": -0.1}, "optimizer.embedding_lr is -0.1\n.*0.0 or more"),
        ({"embedding_lr": 10**400}, "optimizer.embedding_lr is"),
        ({"sharding": []}, r"optimizer.sharding is \[\]"),
        ({"sharding": ["row_wide"]}, r"optimizer.sharding\[0\] is 'row_wide'\n.*row_wise, column_wise"),
    ],
)
def test_invalid_options_are_refused(raw, message):
    with pytest.raises(InputError, match=message):
        OptimizerConfig.read(raw, "optimizer")
