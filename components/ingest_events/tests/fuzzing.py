"""Garbage as a source: `python -m components.ingest_events.tests.fuzzing --cases 20000` (`make fuzz`).

Whatever the bytes are, a source is refused with a headline and a fix, or read with an account whose sums agree.
"""

import argparse
import collections
import contextlib
import faulthandler
import io
import shutil
import sys
import tempfile
import time
import traceback
import warnings
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from components.ingest_events.ingest import ingest
from components.ingest_events.inspection import inspect_source
from components.ingest_events.items import read_items
from components.ingest_events.tests.garbage import garbage
from components.ingest_events.tests.ingesting import GOOD, HEADER, outputs_in, read, rejected
from components.ingest_events.values import Reading
from components.shared.errors import DataError, InputError
from components.shared.schema.account import TableAccount
from components.shared.schema.data_options import DataOptions

EVENTS, CATALOG, ITEMS = "events of an ingestion", "items of an ingestion", "items of a catalog"
INSPECTED = "events of an inspection"
WAYS = (EVENTS, ITEMS, INSPECTED, EVENTS, ITEMS, CATALOG, ITEMS, EVENTS, ITEMS, ITEMS)

OPTIONS = (
    {}, {}, {}, {"mapping": {"price": "query.a", "event_types": {"teleport": "view"}}},
    {"mapping": {"constants": {"event_type": "view"}, "user_id": "item_id"}},
    {"mapping": {"item_id": "item_id[]", "query": "query[key=a].b", "event_types": {"*": "ignore"}}},
    {"mapping": {"item_id": "query[].a", "price": "query[].b.c"}},
    {"reading": Reading(time_format="%d/%m/%Y %H:%M")}, {"columns": ("user_id", "", "event_type", "timestamp")},
)  # fmt: skip
ITEM_OPTIONS = (
    {}, {"mapping": {"items.version": "version"}}, {"mapping": {"items.attributes": ["title", "price"]}},
    {"mapping": {"items.title": "attributes.a", "items.brand": "title"}},
)  # fmt: skip
"""Of an ingestion, for events and for items."""

SECONDS = 60
"""A case that takes longer stops the run with the stack of every thread."""


@dataclass(frozen=True)
class Outcome:
    """What became of a case: `refused`, `read`, or what is wrong."""

    number: int
    way: str
    file: str
    result: str
    seconds: float
    wrong: str = ""


def run(numbers: Iterable[int], folder: Path) -> Iterator[Outcome]:
    """Give the file of each number to one of the readers.

    Args:
        numbers: Of the cases; a number gives the same case again.
        folder: For the files; it holds the last case.
    """
    for number in numbers:
        way = WAYS[number % len(WAYS)]
        case = garbage(number, "events" if way in (EVENTS, INSPECTED) else "items")
        shutil.rmtree(folder, ignore_errors=True)
        source, out = folder / "source" / case.name, folder / "out"
        source.parent.mkdir(parents=True)
        source.write_bytes(case.content)
        started = time.perf_counter()
        result, wrong = _checked(number, way, source, out)
        yield Outcome(number, way, case.name, result, time.perf_counter() - started, wrong)


def _checked(number: int, way: str, source: Path, out: Path) -> tuple[str, str]:
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            _read(number, way, source, out)
    except (InputError, DataError) as refusal:
        left = [path.name for path in out.rglob("*")] if out.exists() else []
        wrong = f"left {left}" if left else ""
        return "refused", wrong or ("" if refusal.headline and refusal.fix else "no headline or fix")
    except BaseException as error:
        if isinstance(error, KeyboardInterrupt):
            raise
        return "failed", "".join(traceback.format_exception(error))
    left = [path.name for path in out.iterdir() if path.name.startswith(".")] if out.exists() else []
    return "read", f"left {left}" if left else ""


def _read(number: int, way: str, source: Path, out: Path) -> None:
    """Read a source, and check that no row of it is lost."""
    if way == ITEMS:
        table, account = read_items(str(source), out / "items")
        assert table.num_rows == account.kept, "items that are not in the account"
        _sums(account)
        return
    if way == INSPECTED:
        _sums(inspect_source(str(source), "events", DataOptions()).account)
        return
    if way == EVENTS:
        summary = ingest(str(source), outputs_in(out), **OPTIONS[number // len(WAYS) % len(OPTIONS)])
    else:
        good = source.parent / "good-events.csv"
        good.write_text(HEADER + GOOD)
        options = ITEM_OPTIONS[number // len(WAYS) % len(ITEM_OPTIONS)]
        summary = ingest(str(good), outputs_in(out), items_source=str(source), **options)
    found = collections.Counter(row["table"] for row in rejected(out))
    for name, account in summary.account.items():
        _sums(account)
        kept, refused = len(read(out, name)), account.rows - account.kept - _ignored(account)
        assert (kept, found[name]) == (account.kept, refused), f"{name}: {kept}, {found[name]} written, {account}"


def _sums(account: TableAccount) -> None:
    lost = sum(one.rows for one in account.rejected.values())
    known = account.kept + _ignored(account) + lost
    assert account.rows == known, f"{account.rows} rows are not {account.kept} and {lost}"


def _ignored(account: TableAccount) -> int:
    return account.ignored.rows if account.ignored else 0


def main() -> int:
    """Run the cases, print what is wrong, and return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cases", type=int, default=20_000)
    parser.add_argument("--first", type=int, default=0, help="number of the first case")
    arguments = parser.parse_args()
    warnings.simplefilter("error")
    results, slowest, wrong = collections.Counter[str](), Outcome(0, "", "", "", 0.0), 0
    started = time.perf_counter()
    # Most of the time goes into small files, so they are kept in memory where the system has such a folder.
    memory = "/dev/shm" if Path("/dev/shm").is_dir() else None
    with tempfile.TemporaryDirectory(prefix="fuzz-", dir=memory) as folder:
        faulthandler.dump_traceback_later(SECONDS, exit=True)
        for case in run(range(arguments.first, arguments.first + arguments.cases), Path(folder) / "case"):
            faulthandler.dump_traceback_later(SECONDS, exit=True)
            results[case.result] += 1
            slowest = max(slowest, case, key=lambda one: one.seconds)
            if case.wrong:
                wrong += 1
                print(f"case {case.number}, {case.file} as {case.way}: {case.wrong}", flush=True)
            if sum(results.values()) % 1_000 == 0:
                print(f"{sum(results.values())} cases, {dict(results)}", flush=True)
        faulthandler.cancel_dump_traceback_later()
    print(f"{arguments.cases} cases in {time.perf_counter() - started:.0f} s, {dict(results)}, {wrong} wrong; slowest: "
          f"case {slowest.number}, {slowest.file} as {slowest.way}, {slowest.seconds:.1f} s")  # fmt: skip
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
