"""Entry point of a step's container: KFP's executor runs a stage's component from this package.

`python3 -m components.step kfp.dsl.executor_main train_ranker --executor_input JSON`
"""

import importlib
import importlib.util
import os
import sys
import time

from components.shared.errors import ShoprankError

EXECUTOR = "kfp.dsl.executor_main"
"""Named on the command line because KFP's local runner refuses a command without it."""

WAITS_S = (10, 30, 90)
"""Waits before further attempts when a service did not answer: as Kubeflow Pipelines installs itself, it runs no failed
step again. SHOPRANK_RETRIES=0, as in local runs, makes it one attempt."""


def main() -> None:
    """Run the component of the stage named by argument 2; the rest is for KFP's executor."""
    executor, stage, *rest = sys.argv[1:]
    # Tells kfp that it is not needed for compiling; it has to be set before its first import.
    os.environ["_KFP_RUNTIME"] = "true"
    found = importlib.util.find_spec(f"components.{stage}.component")
    if found is None or found.origin is None:
        sys.exit(f"error: this image has no stage {stage}\nfix: use an image of the pipeline's version")
    sys.argv[1:] = ["--component_module_path", found.origin, "--function_to_execute", stage, *rest]
    execute = importlib.import_module(executor).executor_main
    for wait in WAITS_S[: int(os.environ.get("SHOPRANK_RETRIES", len(WAITS_S)))]:
        try:
            return execute()
        except ShoprankError as error:
            if not error.transient:
                raise
            print(f"{error}\n  trying again in {wait} s", file=sys.stderr, flush=True)
        time.sleep(wait)
    execute()


if __name__ == "__main__":
    main()
