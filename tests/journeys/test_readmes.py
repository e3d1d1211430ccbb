"""The READMEs: links, size, layout, languages of blocks, and that every block is executed or checked."""

import re
import subprocess
from collections import Counter

import pytest

from tests.journeys.blocks import EXECUTED, LANGUAGES, ROOT, blocks, executed_blocks, readmes
from tests.journeys.claims import CHECKED_ONLY, JOURNEYS

README = (ROOT / "README.md").read_text(encoding="utf-8")


def anchors(text: str) -> set[str]:
    """Anchors of all headings, as GitHub generates them."""
    titles = re.findall(r"^#+ (.+)$", re.sub(r"^```.*?^```", "", text, flags=re.MULTILINE | re.DOTALL), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", title.lower()).replace(" ", "-") for title in titles}


@pytest.mark.parametrize("readme", readmes())
def test_every_link_points_to_an_existing_file_and_heading(readme):
    path = ROOT / readme
    broken = []
    for link in re.findall(r"\]\(([^)]+)\)", path.read_text(encoding="utf-8")):
        if "://" in link:
            continue
        name, _, anchor = link.partition("#")
        target = path.parent / name if name else path
        if not target.exists() or (anchor and anchor not in anchors(target.read_text(encoding="utf-8"))):
            broken.append(link)
    assert broken == []


def test_the_readme_is_short():
    assert len(README.encode()) <= 10_240


def test_the_layout_has_one_line_for_every_folder():
    tracked = subprocess.run(["git", "ls-files"], cwd=ROOT, check=True, capture_output=True, text=True).stdout.split(
        "\n"
    )
    top = {line.split("/")[0] for line in tracked if "/" in line and not line.startswith(".")}
    packages = {line.rpartition("/")[0] for line in tracked if line.endswith("/__init__.py")}
    packages = {path for path in packages if path.count("/") < 2 or path.startswith("components/shared/")}
    nested = {path for path in packages if path.count("/") > 2}
    groups = {"/".join(line.split("/")[:2]) for line in tracked if line.startswith("tests/") and line.count("/") > 1}
    layout = next(block.text for block in blocks().values() if block.name == "README.md#repository-layout:text")
    named = Counter(line.split()[0].rstrip("/") for line in layout.splitlines())
    assert (top | packages | groups) - nested <= named.keys()
    assert set(named.values()) == {1} and all((ROOT / path).is_dir() for path in named)


def test_every_stage_is_in_the_table_of_components():
    table = (ROOT / "components/README.md").read_text(encoding="utf-8")
    stages = [path.parent.name for path in ROOT.glob("components/*/component.py")]
    assert stages and [stage for stage in stages if f"| [{stage}]({stage}/README.md) |" not in table] == []


@pytest.mark.parametrize(
    "stage", [path.parent for path in sorted(ROOT.glob("components/*/component.py"))], ids=lambda p: p.name
)
def test_the_readme_of_a_stage_names_its_outputs_and_files_that_exist(stage):
    text = (stage / "README.md").read_text(encoding="utf-8")
    component = (stage / "component.py").read_text(encoding="utf-8")
    assert 10 <= text.count("\n") <= 30
    assert [
        name for name in re.findall(r"^    (\w+): Output\[", component, re.MULTILINE) if f"`{name}`" not in text
    ] == []
    files = re.findall(r"`(\w+\.py)` \(", text)
    assert "component.py" in files and [name for name in files if not (stage / name).exists()] == []


def test_every_block_has_a_known_language():
    assert [block.name for block in blocks().values() if block.language not in LANGUAGES] == []


def test_every_block_is_executed_by_one_journey_or_listed_with_a_reason():
    claimed = Counter([name for names in JOURNEYS.values() for name in names] + list(CHECKED_ONLY))
    assert [name for name, count in claimed.items() if count > 1] == []
    assert set(executed_blocks()) - claimed.keys() == set(), "in no journey and not in claims.CHECKED_ONLY"
    assert claimed.keys() - set(executed_blocks()) == set(), "no block has this name any more"
    assert all(CHECKED_ONLY.values()) and EXECUTED


def test_there_is_a_test_for_every_journey():
    text = "".join(path.read_text(encoding="utf-8") for path in (ROOT / "tests/journeys").glob("*.py"))
    assert [name for name in JOURNEYS if f'Journey("{name}"' not in text] == []


def test_result_tables_name_their_command_commit_and_machine():
    tables = sorted(ROOT.glob("tests/benchmarks/*/results/*.md"))
    wanted = re.compile(
        r"`(make|python -m) [^`]+`, commit [0-9a-f]{12}( and changes)?, \d+ cores of .*, \d{4}-\d\d-\d\d"
    )
    assert len(tables) >= 22
    assert [path.name for path in tables if not wanted.search(path.read_text(encoding="utf-8"))] == []
    overview = (ROOT / "tests/benchmarks/README.md").read_text(encoding="utf-8")
    assert [path.name for path in tables if str(path.relative_to(ROOT / "tests/benchmarks")) not in overview] == []
