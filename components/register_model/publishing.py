"""Publishes registered versions to Kubeflow Model Registry or as OCI images.

The file registry remains authoritative; publishing is idempotent.
"""

import urllib.parse
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from components.shared.errors import InputError, RegistryError
from components.shared.release.bundle import Manifest, verify
from components.shared.release.oci_layout import write_layout

FORMAT = "shoprank"


class Publisher(Protocol):
    """A publication target of versions."""

    def publish(self, bundle: Path) -> str:
        """Publish the bundle and return its name at the target."""
        ...


@dataclass(frozen=True)
class OciFolder:
    """OCI image layouts, one per version, for `skopeo copy` and KServe's oci:// storage.

    Attributes:
        folder: contains <name>/<version>/.
    """

    folder: Path

    def publish(self, bundle: Path) -> str:
        """See Publisher; returns the digest of the image."""
        manifest = verify(bundle, None)
        return write_layout(bundle, self.folder / manifest.name / manifest.version)


@dataclass(frozen=True)
class KubeflowModelRegistry:
    """Kubeflow's Model Registry (Kubeflow Hub), accessed with its Python client.

    Attributes:
        address: URL of the server. storage: URI under which KServe reads the file registry's folder.
        author: author recorded with the version.
    """

    address: str
    storage: str
    author: str = "shoprank"

    def publish(self, bundle: Path) -> str:
        """See Publisher; returns `model/version`.

        Raises:
            RegistryError: the server does not answer, rejects a request, or has the version without an artifact.
        """
        import aiohttp

        with warnings.catch_warnings():
            # The client warns about plain HTTP, which is usual inside a cluster.
            warnings.simplefilter("ignore")
            from model_registry import ModelRegistry
            from model_registry.exceptions import StoreError
            from mr_openapi.exceptions import ApiException

            parts = urllib.parse.urlsplit(self.address)
            port = parts.port or (443 if parts.scheme == "https" else 80)
            fix = "check its address (kubectl get svc -A | grep model-registry) and register again"
            try:
                server = f"{parts.scheme}://{parts.hostname}"
                client = ModelRegistry(server, port, author=self.author, is_secure=parts.scheme == "https")
                return self._register(client, verify(bundle, None))
            except (StoreError, ApiException, aiohttp.ClientError, OSError) as error:
                first = str(error).strip().splitlines()[0] if str(error).strip() else repr(error)
                raise RegistryError(f"the model registry at {self.address}: {first}", fix) from error

    def _register(self, client, manifest: Manifest) -> str:
        name, version = manifest.name, manifest.version
        known = client.get_registered_model(name)
        if known is not None and client.get_model_version(name, version) is not None:
            if client.get_model_artifact(name, version) is None:
                raise RegistryError(f"{self.address} has {name}/{version} without an artifact",
                                    "archive that version there and register again")  # fmt: skip
            return f"{name}/{version}"
        facts = {"content_sha256": manifest.content, "schema_hash": manifest.schema_hash, **manifest.lineage}
        client.register_model(
            name, f"{self.storage.rstrip('/')}/{name}/versions/{version}", model_format_name=FORMAT,
            model_format_version=str(manifest.format_version), version=version,
            version_description=f"{len(manifest.files)} files, {manifest.size} bytes",
            metadata={**facts, **{metric: float(value) for metric, value in manifest.metrics.items()}},
        )  # fmt: skip
        return f"{name}/{version}"


def publisher_at(target: str, storage: str) -> Publisher | None:
    """Return the publisher for a target, None for ''.

    Args:
        target: '' for none, oci:FOLDER, or model-registry:URL.
        storage: URI under which KServe reads the file registry's folder.

    Raises:
        InputError: the target has another form.
    """
    if not target:
        return None
    kind, _, where = target.partition(":")
    if kind == "oci" and where:
        return OciFolder(Path(where))
    if kind == "model-registry" and where.startswith(("http://", "https://")):
        return KubeflowModelRegistry(where, storage)
    raise InputError(
        f"parameter 'publish' is '{target}'", "leave it empty, or give oci:FOLDER or model-registry:http://..."
    )
