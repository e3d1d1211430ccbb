"""A training worker that waits for a word of the test, and then ends as the word says."""

import argparse
import os
import sys
import time
from pathlib import Path

from components.shared.errors import TrainingError
from components.shared.storage import read_json, write_json

WORD = "word.txt"
"""File in the job's folder: `complete`, `vanish` (end well without a result), `memory`, or a text to fail with."""


def main() -> None:
    """Entry point for torchrun."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--job", required=True)
    job, rank = read_json(Path(parser.parse_args().job)), int(os.environ["RANK"])
    folder = Path(job["folder"])
    print(f"rank {rank} of {os.environ['WORLD_SIZE']} reads {(Path(job['features']) / 'data.txt').read_text()}")
    while not (folder / WORD).exists():
        time.sleep(0.2)
    word = (folder / WORD).read_text()
    if rank == 0 and word == "complete":
        write_json(folder / "curve.json", [])
    elif word == "memory":
        print("takes memory", len(b"x" * 2**31))
    elif word not in ("complete", "vanish"):
        if rank:
            raise TrainingError(word, "lower the learning rate")
        time.sleep(5)
        sys.exit(1)


if __name__ == "__main__":
    main()
