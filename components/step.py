"""Entry point of a step's container: KFP's executor runs a stage's component from this package.

`python3 -m components.step kfp.dsl.executor_main train_ranker --executor_input JSON`
"""

import importlib
import importlib.util
import os
import sys

EXECUTOR = "kfp.dsl.executor_main"
"""Named on the command line because KFP's local runner refuses a command without it."""


def main() -> None:
    """Run the component of the stage named by argument 2; the rest is for KFP's executor."""
    executor, stage, *rest = sys.argv[1:]
    # Tells kfp that it is not needed for compiling; it has to be set before its first import.
    os.environ["_KFP_RUNTIME"] = "true"
    found = importlib.util.find_spec(f"components.{stage}.component")
    if found is None or found.origin is None:
        sys.exit(f"error: this image has no stage {stage}\nfix: use an image of the pipeline's version")
    sys.argv[1:] = ["--component_module_path", found.origin, "--function_to_execute", stage, *rest]
    importlib.import_module(executor).executor_main()


if __name__ == "__main__":
    main()
