"""The training pipeline's fixture (see components/conftest.py) and the command in this process."""

from dataclasses import dataclass

import pytest

from components.conftest import quick_starts, real_processes, tiny_run  # noqa: F401
from pipelines.cli.app import main


@dataclass(frozen=True)
class Done:
    """How the command ended."""

    code: int
    out: str
    err: str


@pytest.fixture
def shoprank(monkeypatch, capsys):
    """A function that runs `shoprank` with the given arguments in this process, as main() does."""

    def run(*arguments) -> Done:
        monkeypatch.setattr("sys.argv", ["shoprank", *map(str, arguments)])
        with pytest.raises(SystemExit) as ended:
            main()
        output = capsys.readouterr()
        return Done(int(ended.value.code or 0), output.out, output.err)

    return run
