"""Terminal output: progress of stages, answers as a table, errors as headline and fix."""

import sys
import time
from collections.abc import Callable
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn
from rich.table import Table
from rich.text import Text

from components.shared.errors import ShoprankError
from components.shared.report.prices import price_text
from components.shared.schema.searches import facet_text, rules_sentences, understood_sentences
from components.shared.wording import printable
from pipelines.local.log import Ended, Progressed, Started, Told

# Titles and queries may hold what rich takes for markup or emoji, such as [new] or :milk:.
console = Console(highlight=False, markup=False, emoji=False, width=None if sys.stdout.isatty() else 132)
errors = Console(stderr=True, highlight=False, markup=False, emoji=False, soft_wrap=True)


class StageProgress:
    """Progress of a run: live bars on a terminal; elsewhere a line per stage start, interval and end.

    Args:
        quiet: Print nothing.
        clock: Monotonic clock in seconds.
    """

    def __init__(self, quiet: bool = False, clock: Callable[[], float] = time.monotonic) -> None:
        self._progress = Progress(
            TextColumn("{task.fields[mark]}"), TextColumn("{task.description:<18}"), BarColumn(bar_width=24),
            TimeElapsedColumn(), TextColumn("{task.fields[note]}", style="dim", markup=False), console=console,
            disable=quiet or not console.is_terminal,
        )  # fmt: skip
        self._plain_lines = not quiet and not console.is_terminal
        self._bar: TaskID | None = None
        self._name, self._note = "", ""
        self._clock = clock
        self._began = self._printed = 0.0
        self._first, self._share = (0.0, 0.0), 0.0

    def __enter__(self) -> "StageProgress":
        self._progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._progress.stop()

    def watch(self, event: Started | Ended | Progressed | Told) -> None:
        """Show one event."""
        if isinstance(event, Started):
            self._name, self._note = event.task, ""
            self._began = self._printed = self._clock()
            self._first, self._share = (self._began, 0.0), 0.0
            self._bar = self._progress.add_task(event.task, total=1.0, mark="[cyan]>", note="")
            self._plain(f"> {event.task}")
        elif self._bar is None:
            return
        elif isinstance(event, Progressed):
            self._progressed(event)
        elif isinstance(event, Told):
            self._say(printable(event.text))
        elif event.ok:
            self._progress.update(self._bar, completed=1.0, mark="[green]✓")
            self._progress.stop_task(self._bar)
            self._plain(f"✓ {event.task}  {self._clock() - self._began:.1f} s  {self._note}".rstrip())
        else:
            self._progress.update(self._bar, mark="[red]✗")
            self._plain(f"✗ {event.task}")

    def _progressed(self, event: Progressed) -> None:
        assert self._bar is not None
        self._note, now = event.note, self._clock()
        left = self._left(now, event.share)
        self._progress.update(self._bar, completed=event.share, note=f"{event.note}{left}")
        if now - self._printed >= PLAIN_EVERY_S:
            self._printed = now
            self._plain(f"  {self._name}  {100 * event.share:3.0f} %  {event.note}{left}".rstrip())

    def _left(self, now: float, share: float) -> str:
        """Remaining time of a stage's training or refit (whose share restarts at 0), estimated without preparation."""
        if share < self._share or not share:
            self._first = (now, share)
        self._share = share
        spent, done = now - self._first[0], share - self._first[1]
        return f", {_duration(spent * (1 - share) / done)} left" if done > 0.02 and share < 1 else ""

    def _plain(self, line: str) -> None:
        if self._plain_lines:
            console.print(line)

    def _say(self, text: str) -> None:
        """Print a sentence of a stage, above the bars of a terminal."""
        if self._plain_lines or not self._progress.disable:
            console.print(f"  ! {text}", soft_wrap=True)


PLAIN_EVERY_S = 5.0
"""Seconds between two progress lines of one stage when the output is not a terminal."""


def _duration(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 90 else f"{seconds / 60:.0f} min"


def show_answer(question: str, answer: dict[str, Any]) -> None:
    """Print a ranked answer with prices and reasons."""
    table = Table(title=question, title_justify="left", title_style="bold", show_edge=False, pad_edge=False)
    for heading in ("#", "product", "price", "score", "why"):
        table.add_column(heading, justify="right" if heading in {"#", "price", "score"} else "left")
    for position, item in enumerate(answer["items"], 1):
        score = f"{item['score']:.3f}" if item["score"] >= 0.001 else "<0.001"
        table.add_row(str(position), item["title"], price_text(item.get("price")), score, "; ".join(item["reasons"]))
    console.print(table)
    if said := understood_sentences(answer.get("search", {})):
        console.print(Text.assemble(("understood: ", "cyan"), printable("; ".join(said))))
    if said := rules_sentences(answer):
        console.print(Text.assemble(("rules: ", "cyan"), printable("; ".join(said))))
    for name, facet in answer.get("facets", {}).items():
        console.print(Text.assemble((f"{printable(name)}: ", "cyan"), printable(facet_text(facet))))
    for warning in answer.get("warnings", []):
        console.print(Text.assemble(("note: ", "yellow"), warning))
    if answer.get("note"):
        console.print(Text.assemble(("note: ", "yellow"), answer["note"]))
    as_of = f", as of {answer['as_of']}" if answer.get("as_of") else ""
    if answer.get("total", 0) > len(answer["items"]):
        following = f"; next page: --cursor {answer['cursor']}" if answer.get("cursor") else ""
        console.print(f"{len(answer['items'])} of {answer['total']:,} items{following}", style="dim", soft_wrap=True)
    console.print(f"model {answer['model_version']}{as_of}, request {answer['request_id']}\n", style="dim")


def show_suggestions(typed: str, answer: dict[str, Any]) -> None:
    """Print suggestions with their kinds."""
    table = Table(title=f"suggestions for '{typed}'", title_justify="left", title_style="bold", show_edge=False,
                  pad_edge=False)  # fmt: skip
    for heading in ("suggestion", "what"):
        table.add_column(heading)
    for one in answer.get("suggestions", []):
        table.add_row(printable(one["text"]), f"{one['kind']}, your own" if one["own"] else one["kind"])
    console.print(table)
    for warning in answer.get("warnings", []):
        console.print(Text.assemble(("note: ", "yellow"), warning))


def show_error(error: ShoprankError) -> None:
    """Print headline and fix."""
    errors.print(Text.assemble(("error: ", "bold red"), _lines(error.headline)))
    errors.print(Text.assemble(("fix: ", "bold"), _lines(error.fix)))


def _lines(text: str) -> str:
    """The text of an error, which may quote a source, with its line breaks."""
    return "\n".join(map(printable, text.split("\n")))
