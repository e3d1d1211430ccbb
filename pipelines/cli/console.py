"""What a person sees: stages with bars and elapsed time, answers as a table, errors as headline and mend."""

import sys
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn
from rich.table import Table

from components.shared.errors import ShoprankError
from pipelines.local.log import Ended, Progressed, Started

console = Console(highlight=False, width=None if sys.stdout.isatty() else 132)
errors = Console(stderr=True, highlight=False, soft_wrap=True)


class StageBars:
    """Live bars of a run; on a log without a terminal one line a stage."""

    def __init__(self) -> None:
        self._progress = Progress(
            TextColumn("{task.fields[mark]}"), TextColumn("{task.description:<18}"), BarColumn(bar_width=24),
            TimeElapsedColumn(), TextColumn("[dim]{task.fields[note]}"), console=console,
            disable=not console.is_terminal,
        )  # fmt: skip
        self._bar: TaskID | None = None
        self._note = ""
        self._seconds = 0.0

    def __enter__(self) -> "StageBars":
        self._progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._progress.stop()

    def watch(self, event: Started | Ended | Progressed) -> None:
        """Show one event."""
        if isinstance(event, Started):
            self._bar, self._note = self._progress.add_task(event.task, total=1.0, mark="[cyan]>", note=""), ""
            self._plain(f"> {event.task}")
        elif self._bar is None:
            return
        elif isinstance(event, Progressed):
            self._note = event.note
            self._progress.update(self._bar, completed=event.share, note=event.note)
        elif event.ok:
            self._progress.update(self._bar, completed=1.0, mark="[green]✓")
            self._progress.stop_task(self._bar)
            seconds = self._progress.tasks[-1].finished_time or self._progress.tasks[-1].elapsed or 0.0
            self._plain(f"✓ {event.task}  {seconds:.1f} s  {self._note}")
        else:
            self._progress.update(self._bar, mark="[red]✗")
            self._plain(f"✗ {event.task}")

    def _plain(self, line: str) -> None:
        if not console.is_terminal:
            console.print(line, markup=False)


def show_answer(question: str, answer: dict[str, Any]) -> None:
    """Print a ranked answer with prices and reasons."""
    table = Table(title=question, title_justify="left", title_style="bold", show_edge=False, pad_edge=False)
    for heading in ("#", "product", "price", "score", "why"):
        table.add_column(heading, justify="right" if heading in {"#", "price", "score"} else "left")
    for place, item in enumerate(answer["items"], 1):
        price = "" if item.get("price") is None else f"{item['price']:.{2 if item['price'] >= 0.01 else 4}f}"
        score = f"{item['score']:.3f}" if item["score"] >= 0.001 else "<0.001"
        table.add_row(str(place), item["title"], price, score, "; ".join(item["reasons"]))
    console.print(table)
    for warning in answer.get("warnings", []):
        console.print(f"[yellow]note:[/] {warning}")
    if answer.get("note"):
        console.print(f"[yellow]note:[/] {answer['note']}")
    moment = f", as of {answer['as_of']}" if answer.get("as_of") else ""
    console.print(f"[dim]model {answer['model_version']}{moment}, request {answer['request_id']}[/]\n")


def show_error(error: ShoprankError) -> None:
    """Print headline and mend."""
    errors.print(f"[bold red]error:[/] {_plain_text(error.headline)}")
    errors.print(f"[bold]mend:[/] {_plain_text(error.mend)}")


def _plain_text(text: str) -> str:
    return text.replace("[", r"\[")
