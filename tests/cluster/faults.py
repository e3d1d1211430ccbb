"""The table of faults in manifests/README.md: tests record what happened and how long recovery took, when asked."""

import json
import os
from pathlib import Path


def noted(fault: str, happened: str, seconds: float) -> None:
    """Append a line to the file that SHOPRANK_FAULTS names."""
    place = os.environ.get("SHOPRANK_FAULTS")
    if place:
        with Path(place).open("a") as stream:
            stream.write(json.dumps({"fault": fault, "happened": happened, "seconds": round(seconds, 1)}) + "\n")
