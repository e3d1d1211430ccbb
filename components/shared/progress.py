"""Progress lines, printed by stages and parsed by `shoprank run`."""

import re

_TOLD = re.compile(r"^\s*told (?P<stage>[a-z_]+) (?P<text>.+)$")
_LINE = re.compile(r"progress (?P<stage>[a-z_]+) (?P<share>[01]\.\d{3})(?: (?P<note>.*))?$")


def report(stage: str, share: float, note: str = "") -> None:
    """Print that `share` (0 to 1) of `stage` is done, with a short note such as a loss."""
    print(f"progress {stage} {min(max(share, 0.0), 1.0):.3f} {note}".rstrip(), flush=True)


def tell(stage: str, text: str) -> None:
    """Print a sentence about a stage's input, such as what was not read, that `shoprank run` shows."""
    print(f"told {stage} {' '.join(text.split())}", flush=True)


def parse_told(line: str) -> str | None:
    """Parse a line of `tell`: its sentence, or None."""
    found = _TOLD.match(line.rstrip())
    return found["text"] if found else None


def parse(line: str) -> tuple[str, float, str] | None:
    """Parse a progress report in a log line: (stage, share, note), or None."""
    found = _LINE.search(line.rstrip())
    return (found["stage"], float(found["share"]), found["note"] or "") if found else None
