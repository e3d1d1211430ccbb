"""Self-contained HTML pages of the reports: headings, key numbers, tables and inline SVG plots, no external files.

All text is escaped; plots are created with `new_figure`, without pyplot state.
"""

import io
import json
import math
import re
import warnings
import xml.etree.ElementTree as ElementTree
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import jinja2
import matplotlib as mpl
from cycler import cycler
from markupsafe import Markup
from matplotlib.figure import Figure
from matplotlib.typing import RcKeyType

from components.shared import storage
from components.shared.report.page_style import CSS, TEMPLATE
from components.shared.report.prices import price_text
from components.shared.schema.searches import rules_sentences, understood_sentences
from components.shared.version import VERSION

Tone = Literal["neutral", "good", "warning", "bad"]
"""Colour of a badge or table row."""

COLOURS = ("#2f6fdb", "#e07b39", "#2a9d74", "#c44569", "#7a5cc0", "#8a8f98")
"""The fixed colour cycle of every plot, readable on white and distinguishable for colour-blind readers."""

_SHORT, _LONG = 25, 40
"""Characters of a table cell."""

_SVG = "http://www.w3.org/2000/svg"
_HREF = "{http://www.w3.org/1999/xlink}href"

_AXES_STYLE: dict[RcKeyType, Any] = {
    "axes.prop_cycle": cycler(color=COLOURS),
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": "#6b7280",
    "axes.labelcolor": "#374151",
    "axes.titlesize": 10,
    "axes.titlelocation": "left",
    "axes.labelsize": 9,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": "#e5e7eb",
    "grid.linewidth": 0.7,
    "xtick.color": "#4b5563",
    "ytick.color": "#4b5563",
    "xtick.labelsize": 8,
    "ytick.labelsize": 8,
}
# Text is not converted to paths, so browsers use their own fonts; the salt makes ids reproducible.
_SVG_STYLE: dict[RcKeyType, Any] = {"svg.fonttype": "none", "svg.hashsalt": "shoprank", "font.family": "sans-serif"}


class _StyledFigure(Figure):
    """A Figure that applies the report style to all its axes."""

    def add_subplot(self, *args: Any, **kwargs: Any) -> Any:
        with mpl.rc_context(_AXES_STYLE):
            return super().add_subplot(*args, **kwargs)


def new_figure(width: float = 7.6, height: float = 3.0) -> Figure:
    """An empty figure in the report style; add axes with `.subplots()` and pass it to `Page.figure`.

    Args:
        width: Inches.
        height: Inches.
    """
    return _StyledFigure(figsize=(width, height), layout="constrained")


@dataclass(frozen=True, kw_only=True)
class _Block:
    """A block of a section; `kind` selects its template."""

    kind: Literal["text", "badges", "banner", "checks", "table", "figures", "answers"]
    content: Any
    highlight: Mapping[int, Tone] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class _Section:
    heading: str
    anchor: str
    intro: str
    blocks: list[_Block]


class Page:
    """A report page, built from top to bottom; every method returns the page, so calls can be chained.

    Args:
        title: Shown on top and in the browser's tab.
        subtitle: One line below it.
        footer: Facts at the very end, before the version.
    """

    def __init__(self, title: str, subtitle: str = "", footer: str = ""):
        self._title = title
        self._subtitle = subtitle
        self._footer = footer
        self._sections: list[_Section] = []
        self._figures = 0

    def section(self, heading: str, intro: str = "") -> "Page":
        """Start a section with an entry in the table of contents."""
        anchor = f"section-{len(self._sections) + 1}"
        self._sections.append(_Section(heading=heading, anchor=anchor, intro=intro, blocks=[]))
        return self

    def text(self, paragraph: str) -> "Page":
        """Add a paragraph."""
        return self._add(_Block(kind="text", content=paragraph))

    def badge(self, label: str, value: Any, tone: Tone = "neutral", note: str = "") -> "Page":
        """Add a key-number card; consecutive cards share a row."""
        card = {"label": label, "value": format_value(value), "tone": tone, "note": note}
        blocks = self._blocks()
        if blocks and blocks[-1].kind == "badges":
            blocks[-1].content.append(card)
            return self
        return self._add(_Block(kind="badges", content=[card]))

    def table(
        self, columns: Sequence[str], rows: Sequence[Sequence[Any]], highlight: Mapping[int, Tone] | None = None
    ) -> "Page":
        """Add a table; numeric columns are right-aligned, None is shown as a dash.

        Args:
            columns: Headings.
            rows: Cells; pass numbers as numbers for consistent formatting.
            highlight: Tone of a row by its index, for instance the champion or an error.
        """
        numeric = [any(_is_number(row[at]) for row in rows) for at in range(len(columns))]
        cells = [[_cell(value, right) for value, right in zip(row, numeric, strict=True)] for row in rows]
        content = {"columns": list(zip(columns, numeric, strict=True)), "rows": cells}
        return self._add(_Block(kind="table", content=content, highlight=dict(highlight or {})))

    def figure(self, figure: Figure, caption: str) -> "Page":
        """Add a plot as inline SVG and clear the figure to free its memory.

        Args:
            figure: A figure from `new_figure`.
            caption: Text below the plot, also used by screen readers.
        """
        return self.figures([(figure, caption)])

    def figures(self, figures: Sequence[tuple[Figure, str]]) -> "Page":
        """Add plots side by side, each with its caption; see `figure`."""
        drawn = []
        for figure, caption in figures:
            self._figures += 1
            drawn.append((Markup(_inline_svg(figure, prefix=f"figure{self._figures}-", label=caption)), caption))
        return self._add(_Block(kind="figures", content=drawn))

    def banner(self, headline: str, tone: Tone, note: str = "") -> "Page":
        """Add a prominent banner."""
        return self._add(_Block(kind="banner", content={"headline": headline, "tone": tone, "note": note}))

    def checks(self, sentences: Sequence[tuple[Tone, str]]) -> "Page":
        """Add a list of sentences, each with a mark in its tone."""
        return self._add(_Block(kind="checks", content=list(sentences)))

    def answers(self, answers: Sequence[Mapping[str, Any]]) -> "Page":
        """Add ranked products as cards.

        Args:
            answers: Each {title, request, search, rules, redirect, items: [{title, price, score, reasons}]}; all but
                title and items, and a price or score, may be missing.
        """
        return self._add(_Block(kind="answers", content=[_answer(answer) for answer in answers]))

    def html(self) -> str:
        """The page as one HTML document."""
        environment = jinja2.Environment(autoescape=True, trim_blocks=True, lstrip_blocks=True)
        return environment.from_string(TEMPLATE).render(
            title=self._title, subtitle=self._subtitle, sections=self._sections, css=Markup(CSS), version=VERSION,
            footer=self._footer,
        )  # fmt: skip

    def write(self, path: Path) -> None:
        """Write the page to `path`, atomically.

        Raises:
            InputError: the disk is full or the folder cannot be written.
        """
        storage.write_text(path, self.html())

    def _blocks(self) -> list[_Block]:
        if not self._sections:
            # Blocks before the first heading have no entry in the table of contents.
            self._sections.append(_Section(heading="", anchor="top", intro="", blocks=[]))
        return self._sections[-1].blocks

    def _add(self, block: _Block) -> "Page":
        self._blocks().append(block)
        return self


def _answer(answer: Mapping[str, Any]) -> dict[str, Any]:
    """An answer for the template; bars are relative to the best score of the answer."""
    best = max((item.get("score") or 0.0 for item in answer["items"]), default=0.0)
    items = [
        {
            "title": item["title"], "price": price_text(item.get("price")),
            "score": format_value(item.get("score")), "reasons": " · ".join(item.get("reasons") or ()),
            "share": f"{100 * (item.get('score') or 0.0) / best:.1f}" if best > 0 else "0",
        }
        for item in answer["items"]
    ]  # fmt: skip
    request = json.dumps(answer["request"], ensure_ascii=False) if answer.get("request") else ""
    return {
        "title": answer["title"], "request": request, "items": items,
        "understood": "; ".join(understood_sentences(answer.get("search", {}))),
        "rules": "; ".join(rules_sentences(answer)),
    }  # fmt: skip


def format_value(value: Any) -> str:
    """A cell's text: None as a dash, integers with thousands separators, floats with four significant digits."""
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return "–"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return f"{value:,}"
    if isinstance(value, float):
        return f"{value:,.0f}" if abs(value) >= 10_000 else f"{value:.4g}"
    return str(value)


def _cell(value: Any, right: bool) -> tuple[str, str]:
    """A cell's text and its class: short text does not wrap, long text may wrap anywhere.

    Text in numeric columns is right-aligned like the numbers.
    """
    text = format_value(value)
    if _is_number(value) or (right and len(text) <= _SHORT):
        return text, "number"
    return text, "short" if len(text) <= _SHORT else "long" if len(text) > _LONG else ""


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _inline_svg(figure: Figure, prefix: str, label: str) -> str:
    """The figure as an <svg> element whose ids start with `prefix`, because two plots on a page use the same names."""
    buffer = io.BytesIO()
    with mpl.rc_context(_SVG_STYLE), warnings.catch_warnings():
        # The glyph is missing from the font that measures the text, not from the browser that draws it.
        warnings.filterwarnings("ignore", message="Glyph .* missing", category=UserWarning)
        figure.savefig(buffer, format="svg", metadata={"Date": None}, transparent=True)
    figure.clear()
    ElementTree.register_namespace("", _SVG)
    ElementTree.register_namespace("xlink", "http://www.w3.org/1999/xlink")
    root = ElementTree.fromstring(buffer.getvalue())
    for metadata in root.findall(f"{{{_SVG}}}metadata"):
        root.remove(metadata)
    for element in root.iter():
        for name, value in element.attrib.items():
            if name == "id":
                element.set(name, prefix + value)
            elif name == _HREF and value.startswith("#"):
                element.set(name, f"#{prefix}{value[1:]}")
            elif "url(#" in value:
                element.set(name, re.sub(r"url\(#", f"url(#{prefix}", value))
    root.set("role", "img")
    root.set("aria-label", label)
    return ElementTree.tostring(root, encoding="unicode")
