"""Report pages: escaped, self-contained, one SVG per figure with unique ids."""

import re
from html.parser import HTMLParser

from components.shared.report.page import COLOURS, Page, new_figure

ATTACK = "<script>alert('x')</script>"


class _Ids(HTMLParser):
    def __init__(self):
        super().__init__()
        self.ids: list[str] = []
        self.tags: list[str] = []
        self.references: list[str] = []

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        for name, value in attrs:
            if name == "id":
                self.ids.append(value)
            for found in re.findall(r"url\(#([^)]+)\)", value or ""):
                self.references.append(found)
            if name.endswith("href") and (value or "").startswith("#"):
                self.references.append(value[1:])


def _plot(label: str = "days"):
    figure = new_figure(4, 2)
    axes = figure.subplots()
    axes.plot([1, 2, 3], [3, 1, 2], marker="o", label=label)
    axes.bar([1, 2], [1, 2])
    axes.set_xlabel(label)
    axes.legend()
    return figure


def test_everything_a_caller_passes_is_escaped():
    page = Page(ATTACK, ATTACK).section(ATTACK, ATTACK).text(ATTACK).badge(ATTACK, ATTACK, note=ATTACK)
    page.table([ATTACK], [[ATTACK]]).figure(_plot(ATTACK), ATTACK)
    html = page.html()
    assert "<script" not in html
    assert "&lt;script&gt;" in html


def test_figures_share_no_ids_and_every_reference_resolves():
    parser = _Ids()
    parser.feed(Page("Two plots").section("Plots").figure(_plot(), "one").figure(_plot(), "two").html())
    assert parser.tags.count("svg") == 2
    assert len(parser.ids) == len(set(parser.ids))
    assert set(parser.references) <= set(parser.ids)


def test_page_loads_nothing_and_is_reproducible():
    def build():
        return Page("Report").section("A").figure(_plot("燕麦奶 🥛"), "caption").table(["n"], [[1]]).html()

    html = build()
    assert html == build()
    assert not re.search(r"""(src|href)=["'](?!#)|@import|url\((?!#)""", html)
    assert "燕麦奶 🥛" in html


def test_tables_format_numbers_and_mark_rows():
    html = Page("T").table(["name", "value"], [["a", 1234567], ["b", None], ["c", 0.123456]], {1: "bad"}).html()
    assert "1,234,567" in html and "–" in html and "0.1235" in html
    assert html.count('<tr class="bad">') == 1


def test_neighbouring_badges_share_a_row_and_write_is_atomic(tmp_path):
    page = Page("Cards").section("Numbers").badge("events", 5).badge("users", 2, "good").text("x").badge("items", 1)
    page.write(tmp_path / "page.html")
    html = (tmp_path / "page.html").read_text(encoding="utf-8")
    assert html.count('class="cards"') == 2
    assert [p.name for p in tmp_path.iterdir()] == ["page.html"]


def test_figures_have_the_house_style_without_global_state():
    axes = new_figure().subplots(1, 2)[0]
    assert not axes.spines["top"].get_visible()
    assert axes.plot([1, 2])[0].get_color() == COLOURS[0]


def test_text_in_a_column_of_numbers_is_aligned_like_numbers():
    rows = [["width", 64], ["encoder", "GRU"], ["layers", None]]
    html = Page("Report").section("A").table(["name", "best"], rows).html()
    cells = re.findall(r"<td class=\"([^\"]*)\">([^<]*)</td>", html)
    assert cells == [("short", "width"), ("number", "64"), ("short", "encoder"), ("number", "GRU"),
                     ("short", "layers"), ("number", "–")]  # fmt: skip


def test_prices_below_a_cent_keep_their_digits():
    items = [{"title": str(price), "price": price, "score": 1.0, "reasons": []} for price in (0.0023, 1.5, None)]
    text = Page("Shop").answers([{"title": "Cheap", "request": {}, "items": items}]).html()
    assert re.findall(r"</b><span>([^<]*)</span>", text) == ["0.0023", "1.50", ""]


def test_rules_of_an_answer_are_told():
    answer = {"title": "Milk", "items": [], "rules": ["<夏天>"], "redirect": "/sale"}
    assert "<p>rules: &lt;夏天&gt;; opens /sale</p>" in Page("Shop").answers([answer]).html()
    assert "rules:" not in Page("Shop").answers([{"title": "Milk", "items": []}]).html()
