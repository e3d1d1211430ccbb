"""ShopConfig: every option of a run; YAML for people, JSON Schema for editors, one dict per section for KFP."""

import json
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, get_args

import yaml
from pydantic import Field

from components.build_features.config import FeatureOptions
from components.compile_model.config import CompileOptions
from components.evaluate_model.config import EvaluationOptions
from components.rollout_model.config import RolloutOptions
from components.shared.errors import InputError
from components.shared.options import Options, check_size, merged
from components.shared.quantities import Cpu, DeviceCount, Memory, StepResources
from components.shared.release.config import ReleaseOptions
from components.shared.schema.data_options import DataOptions
from components.shared.schema.sizes import Size, size_named
from components.shared.training.launch import TrainingOptions
from components.shared.yaml_text import read_yaml
from components.train_ranker.config import RankerOptions, RankerTraining
from components.train_retriever.config import RetrieverOptions, RetrieverTraining
from components.tune_hyperparameters.config import TuningOptions
from pipelines.resources import OWN, PUBLIC_KEY, REGISTRY_MOUNT, SIGNING_KEY


class ShopConfig(Options):
    """Every option of a run."""

    source: Annotated[str, Field(min_length=1)] = "complete-journey"
    """`complete-journey`, or a file, folder, URI or glob of events in Parquet, CSV or JSON."""
    size: Literal["tiny", "small", "full"] = "small"
    """Sets the defaults of batch sizes, dimensions and epochs."""
    seed: int = 0
    """Seed of all random numbers."""
    gpus: DeviceCount = OWN.gpus
    """GPUs of a training step's pod, as a string. Ignored without a cluster, as are cpu and memory."""
    cpu: Cpu = OWN.cpu
    """CPU request and limit of a training step's pod. The nodes of a TrainJob have their own: training.node_cpu."""
    memory: Memory = OWN.memory
    """Memory request and limit of a training step's pod. The nodes of a TrainJob have training.node_memory."""
    model_name: str = "shop"
    """Name of the model in the registry."""
    registry: str = f"{REGISTRY_MOUNT}/registry"
    """Folder or s3:// URI of the model registry."""
    signing_key: str = SIGNING_KEY
    """PEM file of the Ed25519 private key; it must exist (`shoprank keys create`)."""
    public_key: str = PUBLIC_KEY
    """PEM file of its public half, which predictors trust; never from the registry's volume."""
    strategy: Literal["direct", "guarded"] = "direct"
    """`direct`: deploy at once. `guarded`: roll out step by step against the champion."""
    data: DataOptions = DataOptions()
    """Tables and column names."""
    features: FeatureOptions = FeatureOptions()
    """Cleaning, vocabularies, interests, sequences."""
    retriever: RetrieverOptions = RetrieverOptions()
    """The two-tower retriever."""
    ranker: RankerOptions = RankerOptions()
    """The multi-task ranker."""
    training: TrainingOptions = TrainingOptions()
    """Training of both models: processes, nodes, checkpoints."""
    evaluation: EvaluationOptions = EvaluationOptions()
    """Release gates."""
    compile: CompileOptions = CompileOptions()
    """Compression and compilation."""
    release: ReleaseOptions = ReleaseOptions()
    """Registration, limits of the served model, deployment."""
    rollout: RolloutOptions = RolloutOptions()
    """Guarded rollout."""
    tuning: TuningOptions = TuningOptions()
    """Search for hyperparameters; only the tuning pipeline reads it."""


WAITING = StepResources(gpus="0", cpu="1", memory="4Gi")
"""A training step's pod with training.launch=trainjob: it loads torch, and the ranker's step writes the candidate pairs
before it waits."""

SECTIONS: Mapping[str, type[Options]] = {
    name: field.annotation for name, field in ShopConfig.model_fields.items()
    if isinstance(field.annotation, type) and issubclass(field.annotation, Options)
}  # fmt: skip
"""Section -> its model, in the order of ShopConfig."""

FLAT = tuple(name for name in ShopConfig.model_fields if name not in SECTIONS)
"""Options that are parameters of the pipelines themselves."""

_MOVED = {
    "mapping": "data.mapping", "items_source": "data.items_source", "users_source": "data.users_source",
    "previous_statistics": "data.validation.previous_statistics",
    "data.previous_statistics": "data.validation.previous_statistics",
    "item_hash_rows": "features.vocabulary.item_hash_rows", "item_rows": "features.vocabulary.item_rows",
    "user_rows": "features.vocabulary.user_rows",
    "processes": "training.processes", "launch": "training.launch", "nodes": "training.nodes",
    "exchange": "training.exchange", "checkpoints": "training.checkpoints", "node_gpus": "training.node_gpus",
    "precision": "compile.table_format", "dense_precision": "compile.dense_format", "prune": "compile.prune",
    "runtime": "compile.runtime", "limits": "compile.limits", "encoder": "retriever.encoder", "loss": "retriever.loss",
    "retriever_hyperparameters": "retriever.hyperparameters", "retriever_optimizer": "retriever.optimizer",
    "ranker_hyperparameters": "ranker.hyperparameters", "ranker_optimizer": "ranker.optimizer",
    "architecture": "ranker.architecture", "hot_candidates": "ranker.hot_candidates", "refit": "ranker.refit",
    "inference_log": "ranker.inference_log", "teacher": "ranker.teacher", "lineage": "release.lineage",
    "max_p99_ms": "release.max_p99_ms", "max_memory_mb": "release.max_memory_mb", "publish": "release.publish",
    "backend": "release.backend", "service": "release.service", "namespace": "release.namespace",
    "storage": "release.storage", "mode": "release.mode", "confidential": "release.confidential",
    "gateway": "rollout.gateway", "evidence": "rollout.evidence", "events": "rollout.events",
    "steps": "rollout.steps", "guards": "rollout.guards", "retriever_trials": "tuning.retriever_trials",
    "ranker_trials": "tuning.ranker_trials", "objective": "tuning.objective", "pruning": "tuning.pruning",
    "finalists": "tuning.finalists", "study": "tuning.study",
}  # fmt: skip
"""Old path of an option -> the path that replaces it."""


def given_options(file: Path | None, words: Sequence[str]) -> dict[str, Any]:
    """Options from a configuration file and `--set path=value` arguments, of which the last takes precedence.

    Args:
        file: YAML or JSON file, or None.
        words: `path=value` arguments; dots separate sections, the value is YAML.

    Raises:
        InputError: the file cannot be read, an argument has no '=', or a path or value is invalid.
    """
    given = _file(file) if file else {}
    for word in words:
        path, found, value = word.partition("=")
        if not found or not all(path.split(".")):
            raise InputError(f"--set {word}", "write path=value, such as ranker.hot_candidates=20")
        try:
            nested: Any = read_yaml(value)
        except yaml.YAMLError as error:
            # A format of times begins with the mark of YAML's directives.
            if value.startswith("%"):
                nested = value
            else:
                raise InputError(f"--set {word}: {' '.join(str(error).split())}", "give a value in YAML") from error
        if nested is None and value.strip() not in ("null", "~"):
            nested = ""
        *outer, last = path.split(".")
        change: dict[str, Any] = {last: nested}
        for part in reversed(outer):
            change = {part: change}
        given = merged(given, change)
    check(given)
    return given


def check(given: Mapping[str, Any]) -> None:
    """Validate options.

    Raises:
        InputError: names the path, the given and the allowed values; for an old flat name, its replacement; for a
            section that is too large, its size.
    """
    for path, place in _MOVED.items():
        *sections, name = path.split(".")
        inside: Any = given
        for section in sections:
            inside = inside.get(section) if isinstance(inside, Mapping) else None
        # A section may have the name of an old option.
        if isinstance(inside, Mapping) and name in inside and path not in ShopConfig.model_fields:
            raise InputError(f"{path} is no longer an option", f"set {place} instead")
    config = ShopConfig.read(given, "")
    config.rollout.check(config.strategy, config.release.mode)
    for name in SECTIONS.keys() & given.keys():
        check_size(given[name], name)


def _file(path: Path) -> dict[str, Any]:
    try:
        found = read_yaml(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError(f"--config {path}: {error.strerror}", "give the path of a YAML or JSON file") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise InputError(f"--config {path}: {' '.join(str(error).split())}", "write it as YAML or JSON") from error
    if found is not None and not isinstance(found, dict):
        raise InputError(
            f"--config {path} is not a mapping", "write sections such as `ranker:` (see `shoprank config`)"
        )
    return found or {}


def defaults(size: Size) -> dict[str, Any]:
    """Every option with its value at a size."""
    config = ShopConfig(size=size.name).to_json()  # pyright: ignore[reportArgumentType] - a size's name is one of them
    launched = {"exclude": {"launch"}, "mode": "json"}
    config["features"] = FeatureOptions.for_size(size).to_json()
    config["retriever"] = RetrieverTraining.from_size(size).model_dump(**launched)
    config["ranker"] = RankerTraining.from_size(size).model_dump(**launched)
    config["evaluation"] = EvaluationOptions.for_size(size).to_json()
    for section, part in (("retriever", "sampling"), ("retriever", "optimizer"), ("ranker", "optimizer")):
        del config[section][part]["seed"]  # the run's seed, unless it is set
    return config


def as_yaml(size: str) -> str:
    """Every option with its default at a size and its description as a comment."""
    head = f"# Defaults at size {size}. Keep what you change: an option in this file wins over the default of any size."
    return "\n".join([head, *_lines(ShopConfig, defaults(size_named(size)), "")]) + "\n"


def _lines(model: type[Options], values: Mapping[str, Any], indent: str) -> list[str]:
    lines = []
    for name, field in model.model_fields.items():
        if name not in values:
            continue
        value = values[name]
        lines += [f"{indent}# {line.strip()}" for line in (field.description or "").splitlines() if line.strip()]
        inner = _model_of(field.annotation, value)
        if inner is None or not isinstance(value, Mapping):
            lines.append(f"{indent}{name}: {json.dumps(value, ensure_ascii=False)}")
        else:
            lines += [f"{indent}{name}:", *_lines(inner, value, f"{indent}  ")]
    return lines


def _model_of(annotation: Any, value: Any) -> type[Options] | None:
    """The options model of a section's value, for its field descriptions."""
    found = [one for one in (annotation, *get_args(annotation)) if isinstance(one, type) and issubclass(one, Options)]
    kind = value.get("kind") if isinstance(value, Mapping) else None
    named = [one for one in found if "kind" in one.model_fields and one.model_fields["kind"].default == kind]
    return (named or found or [None])[0]


def schema() -> str:
    """JSON Schema of a configuration file."""
    return json.dumps(ShopConfig.model_json_schema(), indent=1, ensure_ascii=False) + "\n"


def pipeline_arguments(
    given: Mapping[str, Any], parameters: Sequence[str], named: Collection[str] = ()
) -> dict[str, Any]:
    """The arguments of a pipeline from the given options; a file may also contain options of other pipelines.

    With training.launch=trainjob, the resources of the step's own pod that are not given become those of WAITING.

    Args:
        given: See given_options.
        parameters: Names of the pipeline's parameters.
        named: Options given on the command line; each must be a parameter of the pipeline.

    Raises:
        InputError: an option in `named` is not a parameter of the pipeline.
    """
    for name in named:
        if name not in parameters:
            raise InputError(f"this pipeline has no option {name}",
                             f"remove it; the options of this pipeline are: {', '.join(parameters)}")  # fmt: skip
    own = {**_of_a_waiting_step(given), **given}
    return {name: value for name, value in own.items() if name in parameters}


def _of_a_waiting_step(given: Mapping[str, Any]) -> dict[str, str]:
    """Resources of a training step's pod whose training runs on the nodes of a TrainJob; {} if it trains itself."""
    training = TrainingOptions.read(given.get("training") or {}, "training")
    if training.launch == "process":
        return {}
    # Without node_gpus, the step's own number of GPUs is that of the nodes.
    return {"cpu": WAITING.cpu, "memory": WAITING.memory} | ({"gpus": WAITING.gpus} if training.node_gpus else {})


def named_in(words: Sequence[str]) -> set[str]:
    """Names of the options and sections in `--set` arguments."""
    return {word.partition("=")[0].partition(".")[0] for word in words}


def without_defaults(given: Mapping[str, Any], *names: str) -> dict[str, Any]:
    """The given options without those among `names` that equal their defaults, which a local run replaces."""
    default = ShopConfig()
    return {name: value for name, value in given.items() if name not in names or value != getattr(default, name)}
