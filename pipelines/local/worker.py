"""One local run in its own process: the pipeline through KFP's SubprocessRunner. Started by `shoprank run`."""

import os
import sys
import warnings
from pathlib import Path

# KFP and the libraries behind it emit warnings on import and for every task; keep them out of the run's log.
warnings.simplefilter("ignore")

from kfp import local  # noqa: E402

from components.shared.storage import read_json  # noqa: E402
from pipelines.compiling import pipeline_named  # noqa: E402


def main() -> None:
    """Run the pipeline described by the job file, the only argument."""
    job = read_json(Path(sys.argv[1]))
    os.environ["PYTHONWARNINGS"] = "ignore"
    os.environ["PYTHONUNBUFFERED"] = "1"
    local.init(
        runner=local.SubprocessRunner(use_venv=False), pipeline_root=job["root"], raise_on_error=True,
        enable_caching=False,
    )  # fmt: skip
    pipeline_named(job["pipeline"])(**job["arguments"])


if __name__ == "__main__":
    main()
