"""Assembles the bundle, signs it and adds it to the registry as the candidate."""

import shutil
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from components.register_model.publishing import publisher_at
from components.shared.errors import BundleError
from components.shared.evaluation.decision import read_decision
from components.shared.features.spec import FeatureSpec
from components.shared.recommender.runtime import RuntimeRecord
from components.shared.release.bundle import BundleFacts, read_manifest, sign, verify, write_manifest
from components.shared.release.config import SearchGate
from components.shared.release.golden import GOLDEN, read_golden
from components.shared.release.registry import CANDIDATE, Registry, Root
from components.shared.release.signing import check_pair, load_key
from components.shared.storage import atomic_directory, read_json
from components.shared.version import VERSION

REQUIRED = (
    "spec.json", "items.parquet", "users.parquet", "category.parquet", "brand.parquet", "token.parquet",
    "history/offsets.npy", "statistics.npy", "retriever/item_vectors.npy",
    "retriever/item_bias.npy", "retriever/index.faiss", "ranker/ranker.json", "search",
    "training_statistics.json", GOLDEN, "compile.json", "licences.json",
)  # fmt: skip
"""Files that a compiled model must contain, besides the graphs of its runtime."""


@dataclass(frozen=True, kw_only=True)
class RegisterConfig:
    """Registry, name and signing key of the bundle."""

    registry: Root
    """Folder or s3:// URI of the registry."""
    name: str
    """Model name in the registry."""
    signing_key: Path
    """PEM file of the Ed25519 private key; it must exist."""
    public_key: Path | None = None
    """PEM file of the public key that predictors trust; a bundle that they would refuse is not registered."""
    lineage: dict[str, str] = field(default_factory=dict)
    """Run, data and code that made the model, free text by name; the code version is added."""
    search: SearchGate = field(default_factory=SearchGate)
    """What the search must show, if judgments are given."""


@dataclass(frozen=True)
class Registered:
    """Result of a registration.

    Attributes:
        version: content-derived. bytes: size of the bundle's files. files: their number.
        search: figures of the search on judgments by flat name; {} without judgments.
    """

    version: str
    bytes: int
    files: int
    search: Mapping[str, float] = field(default_factory=dict)


def register(compiled: Path, evaluation: Path | None, bundle: Path, config: RegisterConfig) -> Registered:
    """Write `compiled` as a signed bundle, add it to the registry and point `candidate` at it.

    Registering the same compiled model again, on any day, gives the same version.

    Args:
        compiled: Output of compile_model.
        evaluation: Output of evaluate_model; its metrics go into the manifest.
        bundle: Folder to write.
        config: Registry, name, key and lineage.

    Raises:
        BundleError: a file of the compiled model is missing, or it contains a link.
        InputError: the key is missing or is not the one that predictors trust, or name or registry cannot be used.
        RegistryError: the version exists with other content, or its search breaks a rule of the gate.
    """
    runtime = RuntimeRecord.read(compiled)
    for path in (*(compiled / name for name in REQUIRED), *runtime.graphs(compiled)):
        if not path.exists():
            raise BundleError(f"{path} is missing", "run compile_model again")
    read_golden(compiled)
    key, spec = _signing_key(config), FeatureSpec.read(compiled / "spec.json")
    facts = BundleFacts(
        name=config.name, as_of=spec.as_of, schema_hash=spec.schema_hash,
        tasks=tuple(read_json(compiled / "ranker" / "ranker.json")["tasks"]),
        metrics=read_decision(evaluation).metrics if evaluation else {},
        lineage={**config.lineage, **runtime.facts(), "shoprank": VERSION},
    )  # fmt: skip
    with atomic_directory(bundle) as folder:
        # Links are kept as links, so that write_manifest rejects them instead of copying their targets.
        shutil.copytree(compiled, folder, dirs_exist_ok=True, symlinks=True)
        write_manifest(folder, facts)
        sign(folder, key)
        search = _search_figures(folder, config)
        if search:
            write_manifest(folder, replace(facts, metrics={**facts.metrics, **search}))
            sign(folder, key)
    manifest = verify(bundle, key.public_key())
    registry = Registry(config.registry)
    version = registry.add(bundle)
    registry.set_alias(config.name, CANDIDATE, version)
    return Registered(version, manifest.size, len(manifest.files), search)


def _search_figures(bundle: Path, config: RegisterConfig) -> dict[str, float]:
    """Figures of the search; {} without judgments, which need none of its packages."""
    if not config.search.judgments:
        return {}
    from components.register_model.search_gate import judge_search

    return judge_search(bundle, config.search, config.registry, config.name, config.public_key)


def _signing_key(config: RegisterConfig) -> Ed25519PrivateKey:
    key = load_key(config.signing_key)
    if config.public_key:
        check_pair(key.public_key(), config.public_key, str(config.signing_key))
    return key


def publish(bundle: Path, config: RegisterConfig, target: str, storage: str) -> str:
    """Publish a registered bundle to another registry and record it in the audit log; no effect if `target` is ''.

    Args:
        bundle: Output of `register`.
        config: Configuration used for `register`.
        target: See publishing.publisher_at.
        storage: URI under which KServe reads the registry's folder.

    Returns:
        Name of the bundle at the target, '' without a target.

    Raises:
        InputError: the target has another form.
        RegistryError: the target rejected the bundle or does not answer.
    """
    publisher = publisher_at(target, storage)
    if publisher is None:
        return ""
    reference = publisher.publish(bundle)
    log, version = Registry(config.registry).audit(config.name), read_manifest(bundle).version
    log.append("publish", version=version, target=target.partition(":")[0], reference=reference)
    return reference
