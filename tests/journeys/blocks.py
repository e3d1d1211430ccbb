"""The fenced code blocks of every README, by file, heading and language."""

import re
import subprocess
from dataclasses import dataclass
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parents[2]
EXECUTED = ("sh", "python")
LANGUAGES = (*EXECUTED, "json", "yaml", "text")
_BLOCK = re.compile(r"^```([^\n]*)\n(.*?)^```$|^#+ ([^\n]+)$", re.MULTILINE | re.DOTALL)


@dataclass(frozen=True)
class Block:
    """One fenced block.

    Attributes:
        name: such as 'serving/README.md#request:sh'; the second of a heading and language ends with '2'.
        language: word after the fence. text: contents of the block.
    """

    name: str
    language: str
    text: str

    @property
    def file_name(self) -> str:
        """The file that a first line such as '# shop.yaml' names, '' without one."""
        found = re.match(r"# ([\w-]+\.\w+)\b", self.text)
        return found[1] if found else ""

    def commands(self) -> list[str]:
        """The commands of a shell block, continued lines joined, comments left out."""
        lines = re.sub(r"\\\n\s*", " ", self.text).splitlines()
        return [line.strip() for line in lines if line.strip() and not line.startswith("#")]


@cache
def readmes() -> tuple[str, ...]:
    """Paths of all README.md of the repository, tracked or new, relative to its root."""
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard", "README.md", "*/README.md"]
    found = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True).stdout.split()
    return tuple(sorted({path for path in found if (ROOT / path).is_file()}))


@cache
def blocks() -> dict[str, Block]:
    """Every block by its name, in the order of the files."""
    found: dict[str, Block] = {}
    for readme in readmes():
        heading = ""
        for match in _BLOCK.finditer((ROOT / readme).read_text(encoding="utf-8")):
            language, text, title = match.groups()
            if title is not None:
                heading = re.sub(r"[^\w]+", "-", title.lower()).strip("-")
                continue
            stem = f"{readme}#{heading}:{language}"
            number = sum(name.rstrip("0123456789") == stem for name in found) + 1
            name = stem if number == 1 else f"{stem}{number}"
            found[name] = Block(name, language, text)
    return found


def executed_blocks() -> list[str]:
    """Names of the blocks that must be in a journey or in claims.CHECKED_ONLY."""
    return [block.name for block in blocks().values() if block.language in EXECUTED]
