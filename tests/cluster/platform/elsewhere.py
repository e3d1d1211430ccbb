"""Another cluster instead of the platform: named by --kube-context of `make test-cluster`, or there by KUBECONFIG."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.cluster.platform.client import Platform
from tests.cluster.platform.programs import binary


def is_given(config: pytest.Config) -> bool:
    """Whether a cluster is named; `make test`, which has no such option, never touches one of KUBECONFIG."""
    context = config.getoption("--kube-context", default=None)
    return bool(context) or (context is not None and bool(os.environ.get("KUBECONFIG")))


def elsewhere(context: str, folder: Path) -> Platform:
    """The named cluster, for tests that need no more than namespaces of their own in it.

    Args:
        context: Of the kubeconfig; '': its current one.
        folder: For a kubeconfig of this context alone.
    """
    kubectl = binary("kubernetes")
    words = [kubectl, "kubectl"] if kubectl.exists() else [shutil.which("kubectl") or pytest.skip("no kubectl")]
    chosen = [f"--context={context}"] if context else []
    done = subprocess.run(
        [*words, "config", "view", "--minify", "--flatten", "--output=json", *chosen], capture_output=True, text=True,
        check=False,
    )  # fmt: skip
    if done.returncode:
        pytest.fail(f"--kube-context '{context}': {done.stderr.strip()}", pytrace=False)
    path = folder / "kubeconfig"
    path.touch(mode=0o600)
    path.write_text(done.stdout)
    return Platform(folder, {"kubeconfig": str(path), "node": "", "prometheus": "", "elsewhere": True})
