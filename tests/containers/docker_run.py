"""`python docker_run.py JOB`: the training pipeline through KFP's DockerRunner, in a process of its own.

Every step runs without network, without capabilities, as the image's own user, on a read-only root.
"""

import json
import sys
import warnings
from pathlib import Path

warnings.simplefilter("ignore")

from kfp import local  # noqa: E402

from pipelines.training import training  # noqa: E402


def main() -> None:
    job = json.loads(Path(sys.argv[1]).read_text())
    # A pod's own name is in its /etc/hosts, and torchrun asks for it; Docker writes it there only with a network.
    runner = local.DockerRunner(
        network_mode="none", hostname="localhost", read_only=True, tmpfs={"/tmp": "rw,size=2g,mode=1777"},
        cap_drop=["ALL"], security_opt=["no-new-privileges"], mem_limit="8g", shm_size="1g",
    )  # fmt: skip
    local.init(runner=runner, pipeline_root=job["root"], raise_on_error=True)
    training(**job["arguments"])


if __name__ == "__main__":
    main()
