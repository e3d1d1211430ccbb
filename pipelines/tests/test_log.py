from components.shared import progress
from pipelines.local.log import Ended, LogReader, Progressed, Started, Told

LOG = """\
02:00:00.1 - INFO - Executing task \x1b[96m'ingest-events'\x1b[0m
    progress ingest_events 0.500 150,000 rows
    Traceback (most recent call last):
    components.shared.errors.InputError: source '/x' does not exist
      fix: give a folder
02:00:01.1 - ERROR - Task \x1b[96m'ingest-events'\x1b[0m finished with status \x1b[91mFAILURE\x1b[0m
"""


def test_log_reader_returns_stages_progress_and_the_input_error():
    reader = LogReader()
    events = [event for line in LOG.splitlines() if (event := reader.read(line))]
    assert events == [Started("ingest-events"), Progressed(0.5, "150,000 rows"), Ended("ingest-events", False)]
    assert (reader.headline, reader.fix) == ("source '/x' does not exist", "give a folder")


def test_fix_of_several_lines_is_read_completely():
    reader = LogReader()
    lines = [
        "    components.shared.errors.DataError: events.* violates the rule duplicate_events",
        "      fix: remove files; rows:", "        {'user_id': 'u1'}", "      see all findings in page.html",
        "    other output", "      indented output",
    ]  # fmt: skip
    assert [reader.read(line) for line in lines] == [None] * len(lines)
    assert reader.fix == "remove files; rows:\n    {'user_id': 'u1'}\n  see all findings in page.html"


def test_last_error_line_is_returned_for_an_unexpected_error():
    reader = LogReader()
    for line in ("some line", "ValueError: 3 is not 4", "more", "RuntimeError: Pipeline 'x' finished with status"):
        reader.read(line)
    assert reader.last_error_line() == "ValueError: 3 is not 4"


def test_progress_lines_round_trip(capsys):
    progress.report("train_ranker", 1.7, "epoch 2 loss 0.1")
    assert progress.parse(capsys.readouterr().out) == ("train_ranker", 1.0, "epoch 2 loss 0.1")
    assert progress.parse("no progress here") is None


def test_sentences_of_a_stage_round_trip_whatever_they_quote(capsys):
    text = "events: 2 rows rejected: 'Executing task 'x'\nfix: [/b]'"
    progress.tell("ingest_events", text)
    line = capsys.readouterr().out
    assert line.count("\n") == 1
    assert LogReader().read(f"    {line}") == Told("events: 2 rows rejected: 'Executing task 'x' fix: [/b]'")
    assert progress.parse_told("it was told twice") is None and LogReader().read("was told nothing") is None
