"""What `shoprank doctor` prints: a table of needs, then each fix, with its commands on lines of their own."""

from collections.abc import Iterable
from typing import TYPE_CHECKING

from rich.table import Table
from rich.text import Text

from components.shared.wording import counted
from pipelines.cli.console import console

if TYPE_CHECKING:
    from pipelines.doctor.needs import Finding

MARKS = {"ok": ("✓", "green"), "missing": ("✗", "red"), "absent": ("–", "dim"), "unknown": ("?", "yellow")}
"""State of a finding -> mark and colour."""


def show_findings(found: "list[Finding]") -> None:
    """Print the table, each fix and each cause of what was not checked once, and the counts."""
    table = Table(show_edge=False, pad_edge=False)
    for heading in ("", "need", "namespace", "found"):
        table.add_column(heading)
    for one in found:
        said = "not checked" if one.state == "unknown" else one.found
        table.add_row(Text(*MARKS[one.state]), one.need, one.namespace, said)
    console.print(table)
    groups: dict[tuple[str, str], list[Finding]] = {}
    for one in missing_first(found):
        groups.setdefault(("missing", one.fix), []).append(one)
    unknown = [one for one in found if one.state == "unknown"]
    for one in unknown:
        groups.setdefault((f"not checked: {one.found}", one.fix), []).append(one)
    told = set[str]()
    for (what, fix), needs in groups.items():
        named = "everything" if len(needs) == len(found) else ", ".join(map(where, needs))
        head, _, cause = what.partition(": ")
        lines = [f"{head}: {named}" + (f": {cause}" if cause else ""), *([fix_text(fix)] if fix not in told else [])]
        told.add(fix)
        console.print("\n".join(lines), markup=False, soft_wrap=True)
    missing = sum(one.state == "missing" for one in found)
    checked = f", {len(unknown)} not checked" if unknown else ""
    console.print(f"{counted(len(found), 'need')}, {missing} missing{checked}")


def missing_first(found: "Iterable[Finding]") -> "list[Finding]":
    """What is missing, in the order to fix it: nothing can be made in a namespace that is not there."""
    return sorted((one for one in found if one.state == "missing"), key=lambda one: one.need != "namespace")


def where(one: "Finding") -> str:
    """A need with its namespace."""
    return f"{one.need} in {one.namespace}" if one.namespace else one.need


def fix_text(fix: str) -> str:
    """A fix, indented; each command stands alone on its line."""
    from pipelines.doctor.needs import is_command

    lines = fix.split("\n")
    first = "  fix:" if is_command(lines[0]) else f"  fix: {lines.pop(0)}"
    return "\n".join([first, *(f"    {line}" for line in lines)])
