"""Progress lines with the remaining time, and words of a shop as they are."""

import pytest

from components.shared.errors import InputError
from pipelines.cli.console import StageProgress, show_answer, show_error
from pipelines.local.log import Ended, Progressed, Started, Told


@pytest.fixture
def lines(capsys):
    """Progress lines printed for the (seconds, share, note) of a stage that starts at 0."""

    def printed(*events: tuple[float, float, str]) -> list[str]:
        times = iter([0.0, *(second for second, _, _ in events), events[-1][0]])
        with StageProgress(clock=lambda: next(times)) as progress:
            progress.watch(Started("train-ranker"))
            for _, share, note in events:
                progress.watch(Progressed(share, note))
            progress.watch(Ended("train-ranker", ok=True))
        return [line.split("%")[1].strip() for line in capsys.readouterr().out.splitlines() if "%" in line]

    return printed


def test_remaining_time_follows_from_the_completed_share(lines):
    assert lines((10, 0.25, "epoch 1"), (20, 0.5, "epoch 2")) == ["epoch 1, 30 s left", "epoch 2, 20 s left"]


def test_preparation_does_not_count_as_training_time(lines):
    assert lines((60, 0.0, "pairs"), (70, 0.5, "epoch 1")) == ["pairs", "epoch 1, 10 s left"]


def test_remaining_time_restarts_with_a_second_training(lines):
    found = lines((100, 1.0, "epoch 4"), (110, 0.05, "refit, epoch 1"), (120, 0.15, "refit, epoch 1"))
    assert found == ["epoch 4", "refit, epoch 1", "refit, epoch 1, 85 s left"]


ODD = ("Lamp [/sale]", "[new] Lamp", "[bold]Lamp", ":milk:", "[/]", "100 % [cotton")


@pytest.mark.parametrize("text", ODD)
def test_words_of_a_shop_are_printed_as_they_are(capsys, text):
    item = {"title": text, "price": 1.0, "score": 0.5, "reasons": [text]}
    show_answer(text, {"items": [item], "warnings": [text], "note": text, "model_version": text, "request_id": "r"})
    show_error(InputError(text, text))
    with StageProgress() as progress:
        progress.watch(Started("ingest-events"))
        progress.watch(Told(text))
        progress.watch(Progressed(0.5, text))
        progress.watch(Ended("ingest-events", ok=True))
    printed = capsys.readouterr()
    assert printed.out.count(text) == 8 and printed.err.count(text) == 2
    assert f"  ! {text}\n" in printed.out


def test_values_of_a_source_do_not_control_the_terminal(capsys):
    show_error(InputError("no column 'tea\x1b[2J\x07'", "map\nanother"))
    assert capsys.readouterr().err == "error: no column 'tea\ufffd[2J\ufffd'\nfix: map\nanother\n"
