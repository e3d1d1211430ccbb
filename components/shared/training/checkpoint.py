"""Checkpoints by torch.distributed.checkpoint: atomic, resumable with another number of ranks.

A checkpoint is complete only if it contains `.metadata`, which is written last. Folders are paths or s3:// URIs.
"""

import warnings
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
import torch.distributed.checkpoint as dcp
from safetensors.torch import save_file
from torch import nn
from torch.distributed.checkpoint.state_dict_loader import _load_state_dict_from_keys
from torch.distributed.checkpoint.stateful import Stateful
from torchrec.optim.keyed import CombinedOptimizer, KeyedOptimizerWrapper

from components.shared.errors import TrainingError
from components.shared.training.exchange import SharedFolder
from components.shared.training.sharding import initial_weights

TRAINED_ROWS = "trained_rows.safetensors"
_KEPT = 2
_TABLES = ".embedding_bags."


class TrainState(Stateful):
    """State of a run that DCP saves and restores in place: model, optimisers, epoch loss and best epoch."""

    def __init__(self, model: nn.Module, optimizer: CombinedOptimizer):
        self.model, self.optimizer = model, optimizer
        self.epoch_loss = torch.zeros((), dtype=torch.float64)
        """Sum of the losses of this epoch's steps, so that a resumed epoch reports the mean of all of them."""
        self.best = torch.tensor([-torch.inf, -1.0], dtype=torch.float64)
        """Best validation metric and the epoch that reached it; metrics such as R² have no lower bound."""

    def state_dict(self) -> dict[str, Any]:
        """Return everything that a resumed run needs."""
        found = {"model": self.model.state_dict(), "epoch_loss": self.epoch_loss, "best": self.best}
        optimizer = self.optimizer.state_dict()
        # SGD has no state, and DCP cannot load entries without tensors.
        return {**found, "optimizer": optimizer} if any(optimizer["state"].values()) else found

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Apply a restored state."""
        self.model.load_state_dict(state_dict["model"])
        if "optimizer" in state_dict:
            self.optimizer.load_state_dict(state_dict["optimizer"])
        self.epoch_loss.copy_(state_dict["epoch_loss"])
        self.best.copy_(state_dict["best"])


def save(state: TrainState, folder: SharedFolder, step: int) -> None:
    """Write `folder/step_<step>`, then delete all but the latest two.

    Remains of a killed run under that name are deleted first: they may come from another number of ranks.
    """
    target = folder / f"step_{step}"
    if dist.get_rank() == 0:
        target.remove()
    dist.barrier()
    dcp.save({"app": state}, checkpoint_id=target.path)
    if dist.get_rank() == 0:
        for old in complete(folder)[:-_KEPT]:
            (folder / f"step_{old}").remove()
    dist.barrier()


def complete(folder: SharedFolder | Path) -> list[int]:
    """Return the steps with a complete checkpoint, ascending."""
    return sorted(int(name.removeprefix("step_")) for name in SharedFolder(folder).subfolders_with(".metadata"))


def resume(state: TrainState, folder: SharedFolder) -> int:
    """Load the newest complete checkpoint, the same one on every rank.

    Returns:
        Its step; 0 if there is none.
    """
    newest = [max(complete(folder), default=0) if dist.get_rank() == 0 else 0]
    dist.broadcast_object_list(newest, src=0)
    if newest[0]:
        for _, part in state.optimizer.optimizers:
            # Adam creates its state in the first step; DCP restores in place and skips state that does not exist yet.
            if isinstance(part, KeyedOptimizerWrapper) and not part.state:
                part.init_state()
        dcp.load({"app": state}, checkpoint_id=(folder / f"step_{newest[0]}").path)
    return newest[0]


def export_weights(module: nn.Module, run: SharedFolder | Path, out: Path, seed: int = 0) -> None:
    """Write the best checkpoint of a run as `out/weights.safetensors`, without sharding or a process group.

    Also writes TRAINED_ROWS: bool [rows] of each table, the rows that received a gradient. With Adagrad, their
    statistic is above 0; with other rules, they differ from their initial values (with AdamW's decay, all rows do). The
    other rows only contain their random initial values.

    Args:
        module: The model, unsharded; its weights are overwritten.
        run: Folder of the loop, which contains `best/`.
        out: Folder to write to.
        seed: Seed of the initial weights.

    Raises:
        TrainingError: the run has no best checkpoint.
    """
    best = SharedFolder(run) / "best"
    steps = complete(best)
    if not steps:
        raise TrainingError(
            "training ended without a validated checkpoint",
            "give data with targets in the validation window, and train at least one epoch",
        )
    path, weights = (best / f"step_{steps[-1]}").path, module.state_dict()
    with warnings.catch_warnings():
        # The warnings only say that there is no process group, which is intended here.
        warnings.filterwarnings("ignore", message="torch.distributed is ", category=UserWarning)
        dcp.load({"app": {"model": weights}}, checkpoint_id=path, no_dist=True)
        touched = {name: _trained_rows(path, name, table, seed) for name, table in weights.items() if _TABLES in name}
    save_file({name: tensor.contiguous() for name, tensor in weights.items()}, out / "weights.safetensors")
    save_file(touched, out / TRAINED_ROWS)


def _trained_rows(path: Path | str, name: str, table: torch.Tensor, seed: int) -> torch.Tensor:
    """Return which rows of a table received a gradient, bool [rows].

    The fused kernel names Adagrad's statistic `<table>.momentum1`: one number per row and column shard, with the shards
    concatenated. The optimiser of data_parallel tables names it `sum`. SGD has no statistic, and Adam's decays.
    """
    key = f"app.optimizer.state.{name}."
    fused, plain = f"{name.removesuffix('.weight').rpartition('.')[2]}.momentum1", "sum"
    found = _load_state_dict_from_keys({key + fused, key + plain}, checkpoint_id=path)
    state = found["app"]["optimizer"]["state"][name] if found else {}
    for statistic in state.values():
        return (statistic.reshape(-1, len(table)) > 0).any(0)
    return (table != initial_weights(name, table.size(), seed)).any(1)
