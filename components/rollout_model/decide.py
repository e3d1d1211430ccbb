"""`python -m components.rollout_model.decide`: the process of the Job that decides a rollout (job.py)."""

import os
import signal
import sys
import tempfile
from pathlib import Path

from components.rollout_model.job import TASK_VARIABLE, RolloutTask
from components.rollout_model.run import decide, rollout_of
from components.shared.errors import InputError, RegistryError, ShoprankError


def main() -> int:
    """Decide; 2 for an error that another attempt would meet again."""
    # A pod that is evicted or deleted lets go of the Lease at once; the Job's next pod goes on.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    task = RolloutTask.from_json(os.environ[TASK_VARIABLE])
    try:
        config = rollout_of(task.registry, (task.name, task.version), task.release, task.rollout)
        with tempfile.TemporaryDirectory() as folder:
            record = decide(config, Path(folder) / "record", ends_with_process=False)
    except ShoprankError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2 if isinstance(error, InputError | RegistryError) else 1
    print(f"{record.action}: {'; '.join(record.reasons)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
