"""The same DLRM in deepctr-torch and RecBole: their embedding layers, input, training loop and Adam.

Neither has a DLRM, so each gets one as its documentation describes for new models: a subclass of its base class. They
run in a separate environment, whose packages are listed below.
"""
# torch==2.13.0 numpy==1.26.4 pandas<2.3 scipy<1.15 pyarrow<21 scikit-learn tqdm colorlog==4.7.2 colorama==0.4.4 pyyaml
# tabulate plotly texttable psutil thop tensorboard requests; then, with `pip install --no-deps` because RecBole needs
# ray for tuning only: deepctr-torch==0.3.0 recbole==1.2.1.
# The libraries are not in this project's environment.
# pyright: reportMissingImports=false

import argparse
import json
import time
from pathlib import Path

import numpy as np
import torch
from torch.nn.functional import binary_cross_entropy_with_logits

from tests.benchmarks.memory import peak_memory_mb
from tests.benchmarks.throughput.data import Shape, in_memory
from tests.benchmarks.throughput.dlrm import DenseParts, first_table, state_name

PEERS = ("deepctr_torch", "recbole")


def deepctr_torch(path: Path, shape: Shape, batch: int, rows: int, work: Path) -> dict[str, float]:
    """Train with BaseModel.fit, which takes all columns as one float matrix."""
    from deepctr_torch.inputs import DenseFeat, SparseFeat
    from deepctr_torch.models.basemodel import BaseModel

    class Dlrm(BaseModel):
        def __init__(self, columns: list):
            super().__init__([], columns, l2_reg_linear=0.0, l2_reg_embedding=0.0)
            self.parts = DenseParts(shape)
            for name in shape.names:
                table = first_table(state_name(name), shape.table_rows, shape.dim)
                self.embedding_dict[name].weight.data.copy_(table)

        def logits(self, x: torch.Tensor) -> torch.Tensor:
            sparse, dense = self.input_from_feature_columns(x, self.dnn_feature_columns, self.embedding_dict)
            return self.parts(torch.cat(sparse, -1).squeeze(1), torch.cat(dense, -1))

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return torch.sigmoid(self.logits(x)).unsqueeze(1)

    ids, numbers, label = in_memory(path, shape, rows)
    columns = [SparseFeat(name, shape.table_rows, embedding_dim=shape.dim) for name in shape.names]
    model = Dlrm([*columns, *(DenseFeat(name, 1) for name in shape.numbers)])
    model.compile("adam", "binary_crossentropy")
    inputs = {name: ids[:, at].astype(np.float32) for at, name in enumerate(shape.names)}
    inputs |= {name: numbers[:, at] for at, name in enumerate(shape.numbers)}
    first = torch.from_numpy(np.stack([inputs[name][:batch] for name in model.feature_index], 1))
    with torch.no_grad():
        probe = float(binary_cross_entropy_with_logits(model.logits(first), torch.from_numpy(label[:batch])))
    model.fit({name: column[:batch] for name, column in inputs.items()}, label[:batch], batch, verbose=0)
    started = time.perf_counter()
    model.fit(inputs, label, batch, verbose=0)
    return {"samples_per_second": len(label) / (time.perf_counter() - started), "first_loss": probe}


def recbole(path: Path, shape: Shape, batch: int, rows: int, work: Path) -> dict[str, float]:
    """Train with Trainer; its atomic file is written before timing starts."""
    from recbole.config import Config
    from recbole.data import create_dataset, data_preparation
    from recbole.model.abstract_recommender import ContextRecommender
    from recbole.model.layers import FMEmbedding
    from recbole.trainer import Trainer

    class Dlrm(ContextRecommender):
        def __init__(self, config, dataset):
            super().__init__(config, dataset)
            del self.token_embedding_table, self.first_order_linear
            sizes = [shape.table_rows + 1] * shape.sparse
            self.tables = FMEmbedding(sizes, np.cumsum([0, *sizes[:-1]]), shape.dim)
            for at, name in enumerate(shape.names):
                # RecBole renumbers the ids in its data from 1.
                known = torch.from_numpy(dataset.field2id_token[name][1:].astype(np.int64))
                begin = at * sizes[0] + 1
                table = first_table(state_name(name), shape.table_rows, shape.dim)
                self.tables.embedding.weight.data[begin : begin + len(known)] = table[known]
            self.parts = DenseParts(shape)

        def calculate_loss(self, interaction):
            ids = torch.stack([interaction[name] for name in shape.names], 1)
            numbers = torch.stack([interaction[name] for name in shape.numbers], 1)
            numbers = numbers[..., 0] if numbers.dim() == 3 else numbers
            return binary_cross_entropy_with_logits(self.parts(self.tables(ids).flatten(1), numbers),
                                                    interaction[self.LABEL])  # fmt: skip

    _write_atomic(path, shape, rows, work)
    settings = {
        "data_path": str(work), "USER_ID_FIELD": "c0", "ITEM_ID_FIELD": "c1", "LABEL_FIELD": "label",
        "load_col": {"inter": shape.columns}, "train_neg_sample_args": None, "train_batch_size": batch,
        "eval_args": {"split": {"RS": [1.0, 0.0, 0.0]}, "order": "RO", "group_by": None, "mode": "labeled"},
        "numerical_features": [], "embedding_size": shape.dim, "use_gpu": False, "state": "ERROR",
        "shuffle": False, "metrics": ["AUC"], "valid_metric": "AUC", "show_progress": False,
        "normalize_all": False, "checkpoint_dir": str(work), "epochs": 1,
    }  # fmt: skip
    config = Config(model=Dlrm, dataset="clicks", config_dict=settings)
    dataset = create_dataset(config)
    train_data = data_preparation(config, dataset)[0]
    model = Dlrm(config, train_data.dataset)
    ids, numbers, label = in_memory(path, shape, batch)
    first = {"label": torch.from_numpy(label), **dict(zip(shape.numbers, torch.from_numpy(numbers).T, strict=True))}
    for name, column in zip(shape.names, ids.T, strict=True):
        known = dataset.field2token_id[name]
        first[name] = torch.tensor([known[str(one)] for one in column])
    with torch.no_grad():
        probe = float(model.calculate_loss(first))
    trainer = Trainer(config, model)
    model.calculate_loss(next(iter(train_data))).backward()
    trainer.optimizer.step()
    started = time.perf_counter()
    trainer._train_epoch(train_data, 0)
    return {"samples_per_second": rows / (time.perf_counter() - started), "first_loss": probe}


def _write_atomic(path: Path, shape: Shape, rows: int, work: Path) -> None:
    """Write the first rows in RecBole's text format."""
    import pyarrow as pa
    from pyarrow import csv

    ids, numbers, label = in_memory(path, shape, rows)
    named = [f"{name}:token" for name in shape.names] + [f"{name}:float" for name in [*shape.numbers, "label"]]
    table = pa.table([*ids.T, *numbers.T, label], names=named)
    (work / "clicks").mkdir(parents=True, exist_ok=True)
    with (work / "clicks" / "clicks.inter").open("wb") as target:
        target.write("\t".join(named).encode() + b"\n")
        csv.write_csv(table, target, csv.WriteOptions(include_header=False, delimiter="\t", quoting_style="none"))


def main() -> None:
    """Measure one library and print its figures as JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--job", type=Path, required=True)
    job = json.loads(parser.parse_args().job.read_text())
    shape = Shape.of(job["shape"])
    measure = {"deepctr_torch": deepctr_torch, "recbole": recbole}[job["measure"]]
    rows = min(shape.rows, job["steps"] * job["batch"]) // job["batch"] * job["batch"]
    found = measure(Path(job["data"]), shape, job["batch"], rows, Path(job["folder"]))
    print(json.dumps({**found, "steps": rows // job["batch"], "memory_mb": peak_memory_mb()}))


if __name__ == "__main__":
    main()
