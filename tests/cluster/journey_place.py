"""The namespace of a journey: prepared by `shoprank keys create` and `shoprank install`, registry and data in S3."""

import os
import random
import subprocess
import sys
import uuid
from pathlib import Path

from components.shared.cluster.inference_service import ServiceSpec
from components.shared.release.registry import Registry
from pipelines.installing import STEPS_ACCOUNT
from pipelines.resources import OBJECT_STORE_SECRET
from tests.cluster.namespaces import Namespace, folder_volume, restricted
from tests.cluster.platform.client import Platform
from tests.cluster.platform.layout import CHECKOUT
from tests.cluster.platform.object_store import ACCESS_KEY, SECRET_KEY
from tests.cluster.rollout_shop import Shop
from tests.cluster.step_pods import ARTIFACTS_CLAIM

MODEL = "shop"
_DAY = 86_400


class Place(Namespace):
    """A restricted namespace for steps and predictors.

    Args:
        platform: The platform with pods.
        folder: Gets the folders `volume` (events, inference log) and `artifacts`, each the volume of a claim.
    """

    def __init__(self, platform: Platform, folder: Path):
        self.platform, self.folder, self._work = platform, folder / "volume", folder / "work"
        self.artifacts, self.name = folder / "artifacts", f"t-{uuid.uuid4().hex[:10]}"
        for path in (self.folder, self.folder / "inference-log", self.artifacts):
            path.mkdir()
            path.chmod(0o777)
        volumes = [folder_volume(self.name, self.folder),
                   folder_volume(f"{self.name}-artifacts", self.artifacts, self.name, ARTIFACTS_CLAIM)]  # fmt: skip
        self.apply([*restricted(self.name), *volumes])
        self.kubectl("create", "serviceaccount", STEPS_ACCOUNT)
        self.shoprank("keys", "create", "--namespace", self.name, "--apply")
        self.shoprank("install", "--namespace", self.name, "--serving-namespace", self.name, "--apply")
        self.apply([self._secret(), self._claim()])
        # The claim is bound already, and cannot be changed.
        optional = [one for one in self.manifests() if one["kind"] != "PersistentVolumeClaim"]
        self.apply(optional, "--force-conflicts")

    def shoprank(self, *words: str) -> str:
        """Run shoprank as the administrator, as a person does.

        Raises:
            AssertionError: it failed; the message is its own.
        """
        command = [sys.executable, "-m", "pipelines.cli.app", *words]
        environment = {**os.environ, "KUBECONFIG": str(self.platform.kubeconfig)}
        done = subprocess.run(command, cwd=CHECKOUT, capture_output=True, text=True, env=environment, check=False)
        assert done.returncode == 0, f"shoprank {' '.join(words)}: {done.stderr}"
        return done.stdout

    def remove(self) -> None:
        """Delete everything, without waiting."""
        super().remove()
        self.platform.kubectl("delete", "persistentvolume", f"{self.name}-artifacts", "--wait=false")

    def _secret(self) -> dict:
        """The object store's credentials, for steps and, in KServe's annotated form, for predictors."""
        annotations = {"s3-endpoint": "seaweedfs.kubeflow:9000", "s3-usehttps": "0", "s3-verifyssl": "0",
                       "s3-region": "us-east-1"}  # fmt: skip
        return {
            "apiVersion": "v1", "kind": "Secret", "metadata": {
                "name": OBJECT_STORE_SECRET, "namespace": self.name,
                "annotations": {f"serving.kserve.io/{name}": value for name, value in annotations.items()}},
            "stringData": {"AWS_ENDPOINT_URL": "http://seaweedfs.kubeflow:9000", "AWS_ACCESS_KEY_ID": ACCESS_KEY,
                           "AWS_SECRET_ACCESS_KEY": SECRET_KEY, "AWS_DEFAULT_REGION": "us-east-1"},
        }  # fmt: skip

    def _claim(self) -> dict:
        return {
            "apiVersion": "v1", "kind": "PersistentVolumeClaim",
            "metadata": {"name": ARTIFACTS_CLAIM, "namespace": self.name},
            "spec": {"accessModes": ["ReadWriteMany"], "storageClassName": "", "volumeName": f"{self.name}-artifacts",
                     "resources": {"requests": {"storage": "1Gi"}}},
        }  # fmt: skip


class StoredShop(Shop):
    """The InferenceService of a place, whose registry is in the object store."""

    def __init__(self, namespace: Namespace, registry: str):
        self.namespace, self.cluster = namespace, namespace.connect()
        self.registry = Registry(registry)
        self.spec = ServiceSpec(name="shoprank", model=MODEL)


def write_events(folder: Path, shoppers: int = 40, days: int = 80) -> None:
    """Write the events of a small shop: everyone buys from one of six shelves, mostly the same few items."""
    draw = random.Random(5)
    shelves = {"MILK": "milk", "BREAD": "bread", "FRUIT": "fruit", "CHEESE": "cheese", "TEA": "tea", "SOAP": "soap"}
    items = [(f"{shelf}{number}", f"{brand} {word} {number}", shelf, brand, 1 + number)
             for shelf, word in shelves.items()
             for number, brand in enumerate(("Oatly", "FarmCo", "Crunch", "Nord", "Sol") * 2)]  # fmt: skip
    lines = ["user_id,item_id,event_type,timestamp,title,categories,brand,price"]
    for shopper in range(shoppers):
        own = draw.sample(items[shopper % 6 * 10 : shopper % 6 * 10 + 10], 4)
        for day in range(days):
            if draw.random() < 0.6:
                item, title, shelf, brand, price = draw.choice(own) if draw.random() < 0.85 else draw.choice(items)
                at = 1_709_251_200 + day * _DAY + shopper * 60
                lines.append(f"u{shopper},{item},purchase,{at},{title},{shelf},{brand},{price}")
    folder.mkdir()
    (folder / "events.csv").write_text("\n".join(lines) + "\n")
