"""Self-contained HTML pages of the reports: headings, key numbers, tables and inline SVG plots, nothing from a network.

Everything a caller passes is escaped; plots come from `new_figure`, which uses no pyplot state.
"""

import io
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
from components.shared.version import VERSION

Tone = Literal["neutral", "good", "warning", "bad"]
"""Colour of a badge or of a table row."""

COLOURS = ("#2f6fdb", "#e07b39", "#2a9d74", "#c44569", "#7a5cc0", "#8a8f98")
"""The fixed colour cycle of every plot, readable on white and told apart by colour-blind readers."""

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
# Text stays text, so a browser draws Chinese and emoji with its own fonts; the salt makes ids the same in every run.
_SVG_STYLE: dict[RcKeyType, Any] = {"svg.fonttype": "none", "svg.hashsalt": "shoprank", "font.family": "sans-serif"}


class _HouseFigure(Figure):
    """A Figure whose axes are born in the house style, wherever the caller makes them."""

    def add_subplot(self, *args: Any, **kwargs: Any) -> Any:
        with mpl.rc_context(_AXES_STYLE):
            return super().add_subplot(*args, **kwargs)


def new_figure(width: float = 7.6, height: float = 3.0) -> Figure:
    """An empty figure in the house style; add axes with `.subplots()` and hand it to `Page.figure`.

    Args:
        width: Inches.
        height: Inches.
    """
    return _HouseFigure(figsize=(width, height), layout="constrained")


@dataclass(frozen=True, kw_only=True)
class _Block:
    """One piece of a section; the template switches on `kind`."""

    kind: Literal["text", "badges", "table", "figure"]
    content: Any
    highlight: Mapping[int, Tone] = field(default_factory=dict)
    caption: str = ""


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
    """

    def __init__(self, title: str, subtitle: str = ""):
        self._title = title
        self._subtitle = subtitle
        self._sections: list[_Section] = []
        self._figures = 0

    def section(self, heading: str, intro: str = "") -> "Page":
        """Start a section; it gets an entry in the table of contents."""
        anchor = f"section-{len(self._sections) + 1}"
        self._sections.append(_Section(heading=heading, anchor=anchor, intro=intro, blocks=[]))
        return self

    def text(self, paragraph: str) -> "Page":
        """Add a paragraph."""
        return self._add(_Block(kind="text", content=paragraph))

    def badge(self, label: str, value: Any, tone: Tone = "neutral", note: str = "") -> "Page":
        """Add a key-number card; cards that follow each other share a row."""
        card = {"label": label, "value": format_value(value), "tone": tone, "note": note}
        blocks = self._blocks()
        if blocks and blocks[-1].kind == "badges":
            blocks[-1].content.append(card)
            return self
        return self._add(_Block(kind="badges", content=[card]))

    def table(
        self, columns: Sequence[str], rows: Sequence[Sequence[Any]], highlight: Mapping[int, Tone] | None = None
    ) -> "Page":
        """Add a table; numbers are aligned right, None is shown as a dash.

        Args:
            columns: Headings.
            rows: Cells; numbers stay numbers, so that they are formatted in one way everywhere.
            highlight: Tone of a row by its index, for instance the champion or an error.
        """
        cells = [[(format_value(cell), _is_number(cell)) for cell in row] for row in rows]
        content = {"columns": list(columns), "rows": cells}
        return self._add(_Block(kind="table", content=content, highlight=dict(highlight or {})))

    def figure(self, figure: Figure, caption: str) -> "Page":
        """Add a plot as inline SVG and empty the figure, so that a long page holds no canvas.

        Args:
            figure: Usually from `new_figure`.
            caption: Shown below it and read out by screen readers.
        """
        self._figures += 1
        svg = _inline_svg(figure, prefix=f"figure{self._figures}-", label=caption)
        return self._add(_Block(kind="figure", content=Markup(svg), caption=caption))

    def html(self) -> str:
        """The page as one HTML document."""
        environment = jinja2.Environment(autoescape=True, trim_blocks=True, lstrip_blocks=True)
        return environment.from_string(_TEMPLATE).render(
            title=self._title, subtitle=self._subtitle, sections=self._sections, css=Markup(_CSS), version=VERSION
        )

    def write(self, path: Path) -> None:
        """Write the page to `path`, atomically.

        Raises:
            InputError: the disk is full or the folder cannot be written.
        """
        storage.write_text(path, self.html())

    def _blocks(self) -> list[_Block]:
        if not self._sections:
            # What comes before the first heading has no entry in the table of contents.
            self._sections.append(_Section(heading="", anchor="top", intro="", blocks=[]))
        return self._sections[-1].blocks

    def _add(self, block: _Block) -> "Page":
        self._blocks().append(block)
        return self


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


_CSS = """
:root{--ink:#1c2430;--soft:#5d6775;--line:#e3e7ed;--paper:#fff;--ground:#f5f7fa;--accent:#2f6fdb;
--good:#1d7f5c;--good-bg:#e5f5ee;--warning:#9a5b08;--warning-bg:#fdf2dc;--bad:#b3263e;--bad-bg:#fdeaed}
@media (prefers-color-scheme:dark){:root{--ink:#e6eaf0;--soft:#9aa5b4;--line:#2e3744;--paper:#1a212b;--ground:#12171e;
--accent:#82aef7;--good:#6fd3ab;--good-bg:#14352a;--warning:#f0bd69;--warning-bg:#3a2c10;--bad:#ff93a4;--bad-bg:#411a22}}
*{box-sizing:border-box}html{scroll-behavior:smooth}
body{margin:0;background:var(--ground);color:var(--ink);line-height:1.55;
font:15px/1.55 system-ui,-apple-system,"Segoe UI",Roboto,"Noto Sans","PingFang SC","Microsoft YaHei",sans-serif}
.frame{max-width:1160px;margin:0 auto;padding:32px 24px 64px;display:grid;grid-template-columns:190px minmax(0,1fr);
column-gap:40px}
header{grid-column:1/-1;margin-bottom:24px}h1{font-size:28px;line-height:1.2;letter-spacing:-.02em;margin:0}
header p{margin:6px 0 0;color:var(--soft)}
nav{position:sticky;top:24px;align-self:start;font-size:13px;border-left:2px solid var(--line)}
nav a{display:block;padding:4px 0 4px 14px;color:var(--soft);text-decoration:none}nav a:hover{color:var(--accent)}
section{background:var(--paper);border:1px solid var(--line);border-radius:12px;padding:22px 26px;margin:0 0 20px;
scroll-margin-top:16px}
h2{font-size:18px;margin:0 0 4px;letter-spacing:-.01em}.intro{color:var(--soft);margin:0 0 14px}p{margin:10px 0}
.cards{display:grid;grid-template-columns:repeat(auto-fill,minmax(140px,1fr));gap:12px;margin:14px 0}
.card{border:1px solid var(--line);border-radius:10px;padding:12px 14px}
.card b{display:block;font-size:22px;line-height:1.25;font-variant-numeric:tabular-nums;overflow-wrap:anywhere}
.card span{font-size:12px;color:var(--soft)}.card small{display:block;color:var(--soft)}
.card.good{background:var(--good-bg)}.card.good b{color:var(--good)}
.card.warning{background:var(--warning-bg)}.card.warning b{color:var(--warning)}
.card.bad{background:var(--bad-bg)}.card.bad b{color:var(--bad)}
.scroll{overflow-x:auto;margin:14px 0}table{border-collapse:collapse;width:100%;font-size:13.5px}
th{text-align:left;font-weight:600;color:var(--soft);border-bottom:2px solid var(--line);white-space:nowrap}
th,td{padding:7px 12px 7px 8px;vertical-align:top}
td{border-bottom:1px solid var(--line);overflow-wrap:anywhere;white-space:pre-line}
td.number{text-align:right;font-variant-numeric:tabular-nums;white-space:nowrap}
tr.good td{background:var(--good-bg)}tr.warning td{background:var(--warning-bg)}tr.bad td{background:var(--bad-bg)}
figure{margin:16px 0;padding:12px;background:#fff;border:1px solid var(--line);border-radius:10px}
figure svg{display:block;width:100%;height:auto}figcaption{font-size:13px;color:#5d6775;margin-top:8px}
footer{grid-column:2;color:var(--soft);font-size:12px}
@media (max-width:820px){.frame{display:block;padding:20px 14px}nav{display:flex;flex-wrap:wrap;position:sticky;top:0;
z-index:1;background:var(--ground);border:0;margin-bottom:12px}nav a{padding:6px 12px 6px 0}section{padding:16px}}
@media print{nav{display:none}.frame{display:block}section{break-inside:avoid-page}}
"""

_TEMPLATE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{{ title }}</title>
<style>{{ css }}</style>
</head>
<body><div class="frame">
<header><h1>{{ title }}</h1>{% if subtitle %}<p>{{ subtitle }}</p>{% endif %}</header>
<nav>{% for s in sections if s.heading %}<a href="#{{ s.anchor }}">{{ s.heading }}</a>{% endfor %}</nav>
<main>
{% for s in sections %}
<section id="{{ s.anchor }}">
{% if s.heading %}<h2>{{ s.heading }}</h2>{% endif %}
{% if s.intro %}<p class="intro">{{ s.intro }}</p>{% endif %}
{% for block in s.blocks %}
{% if block.kind == "text" %}<p>{{ block.content }}</p>
{% elif block.kind == "badges" %}<div class="cards">{% for card in block.content %}
<div class="card {{ card.tone }}"><span>{{ card.label }}</span><b>{{ card.value }}</b>
{% if card.note %}<small>{{ card.note }}</small>{% endif %}</div>{% endfor %}</div>
{% elif block.kind == "table" %}<div class="scroll"><table>
<thead><tr>{% for name in block.content.columns %}<th>{{ name }}</th>{% endfor %}</tr></thead>
<tbody>{% for row in block.content.rows %}
<tr{% if loop.index0 in block.highlight %} class="{{ block.highlight[loop.index0] }}"{% endif %}>
{% for text, number in row %}<td{% if number %} class="number"{% endif %}>{{ text }}</td>{% endfor %}</tr>
{% endfor %}</tbody></table></div>
{% else %}<figure>{{ block.content }}<figcaption>{{ block.caption }}</figcaption></figure>
{% endif %}
{% endfor %}
</section>
{% endfor %}
</main>
<footer>Written by shoprank {{ version }}</footer>
</div></body>
</html>
"""
