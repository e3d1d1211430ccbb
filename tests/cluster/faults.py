"""The table of faults in manifests/README.md: tests record the outcome and the recovery time on request."""

import json
import os
from pathlib import Path


def log_fault(fault: str, happened: str, seconds: float) -> None:
    """Append a line to the file that SHOPRANK_FAULTS names."""
    path = os.environ.get("SHOPRANK_FAULTS")
    if path:
        with Path(path).open("a") as stream:
            stream.write(json.dumps({"fault": fault, "happened": happened, "seconds": round(seconds, 1)}) + "\n")
