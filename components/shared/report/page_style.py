"""Style sheet and template of report pages."""

CSS = """
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
.cards{display:grid;grid-template-columns:repeat(auto-fit,minmax(114px,1fr));gap:10px;margin:14px 0}
.card{border:1px solid var(--line);border-radius:10px;padding:11px 12px}
.card b{display:block;font-size:22px;line-height:1.25;font-variant-numeric:tabular-nums;overflow-wrap:anywhere}
.card span{font-size:12px;color:var(--soft)}
.card small{display:block;color:var(--soft);font-size:11.5px;line-height:1.35}
.card.good{background:var(--good-bg)}.card.good b{color:var(--good)}
.card.warning{background:var(--warning-bg)}.card.warning b{color:var(--warning)}
.card.bad{background:var(--bad-bg)}.card.bad b{color:var(--bad)}
.scroll{overflow-x:auto;margin:14px 0}table{border-collapse:collapse;width:100%;font-size:13.5px}
th{text-align:left;font-weight:600;color:var(--soft);border-bottom:2px solid var(--line);white-space:nowrap}
th,td{padding:7px 12px 7px 8px;vertical-align:top}
td{border-bottom:1px solid var(--line);white-space:pre-line}
td.long{overflow-wrap:anywhere;min-width:180px}td.short{white-space:pre}
td.number,th.number{text-align:right;font-variant-numeric:tabular-nums;white-space:nowrap}
tr.good td{background:var(--good-bg)}tr.warning td{background:var(--warning-bg)}tr.bad td{background:var(--bad-bg)}
figure{margin:16px 0;padding:12px;background:#fff;border:1px solid var(--line);border-radius:10px}
figure svg{display:block;width:100%;height:auto}figcaption{font-size:13px;color:#5d6775;margin-top:8px}
.banner{border-radius:12px;padding:16px 20px;margin:6px 0 16px;
border-left:6px solid var(--soft);background:var(--ground)}
.banner b{display:block;font-size:20px;letter-spacing:-.01em}.banner p{margin:2px 0 0}
.banner.good{background:var(--good-bg);border-color:var(--good)}.banner.good b{color:var(--good)}
.banner.warning{background:var(--warning-bg);border-color:var(--warning)}.banner.warning b{color:var(--warning)}
.banner.bad{background:var(--bad-bg);border-color:var(--bad)}.banner.bad b{color:var(--bad)}
.checks{list-style:none;margin:14px 0;padding:0;font-size:14px}.checks li{padding:5px 0 5px 26px;position:relative}
.checks li::before{position:absolute;left:2px;font-weight:700;content:"✓";color:var(--good)}
.checks li.bad::before{content:"✕";color:var(--bad)}.checks li.neutral::before{content:"·";color:var(--soft)}
.checks li.warning::before{content:"!";color:var(--warning)}
.side{display:grid;grid-template-columns:repeat(auto-fit,minmax(310px,1fr));gap:16px}.side figure{margin:0}
.answers{display:grid;grid-template-columns:repeat(auto-fit,minmax(232px,1fr));gap:16px;margin:14px 0}
.answer{border:1px solid var(--line);border-radius:12px;padding:14px 14px 8px}
.answer h3{margin:0;font-size:15px}.answer code{display:block;font-size:11.5px;color:var(--soft);margin:4px 0 10px;
overflow-wrap:anywhere}.answer ol{list-style:none;margin:0;padding:0;counter-reset:position}
.answer li{display:grid;grid-template-columns:22px minmax(0,1fr) auto;column-gap:8px;padding:7px 0;
border-top:1px solid var(--line);counter-increment:position}
.answer p{margin:0 0 10px;font-size:12px;color:var(--soft)}
.answer li::before{content:counter(position);color:var(--soft);font-size:12px;padding-top:2px;
font-variant-numeric:tabular-nums}
.answer li b{font-weight:600;font-size:13.5px;overflow-wrap:anywhere}
.answer li span{font-variant-numeric:tabular-nums;font-size:13px;text-align:right}
.answer li small{grid-column:2/-1;color:var(--soft);font-size:12px}
.answer i{grid-column:2/-1;display:block;height:3px;border-radius:2px;background:var(--line);margin:4px 0 3px}
.answer i i{margin:0;background:var(--accent)}
footer{grid-column:2;color:var(--soft);font-size:12px}
@media (max-width:820px){.frame{display:block;padding:20px 14px}nav{display:flex;flex-wrap:wrap;position:sticky;top:0;
z-index:1;background:var(--ground);border:0;margin-bottom:12px}nav a{padding:6px 12px 6px 0}section{padding:16px}}
@media print{nav{display:none}.frame{display:block}section{break-inside:avoid-page}}
"""

TEMPLATE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
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
<thead><tr>{% for name, number in block.content.columns %}
<th{% if number %} class="number"{% endif %}>{{ name }}</th>{% endfor %}</tr></thead>
<tbody>{% for row in block.content.rows %}
<tr{% if loop.index0 in block.highlight %} class="{{ block.highlight[loop.index0] }}"{% endif %}>
{% for text, kind in row %}<td{% if kind %} class="{{ kind }}"{% endif %}>{{ text }}</td>{% endfor %}</tr>
{% endfor %}</tbody></table></div>
{% elif block.kind == "banner" %}<div class="banner {{ block.content.tone }}"><b>{{ block.content.headline }}</b>
{% if block.content.note %}<p>{{ block.content.note }}</p>{% endif %}</div>
{% elif block.kind == "checks" %}<ul class="checks">{% for tone, sentence in block.content %}
<li class="{{ tone }}">{{ sentence }}</li>{% endfor %}</ul>
{% elif block.kind == "answers" %}<div class="answers">{% for answer in block.content %}
<div class="answer"><h3>{{ answer.title }}</h3>{% if answer.request %}<code>{{ answer.request }}</code>{% endif %}
{% if answer.understood %}<p>understood: {{ answer.understood }}</p>{% endif %}
{% if answer.rules %}<p>rules: {{ answer.rules }}</p>{% endif %}
<ol>{% for item in answer["items"] %}
<li><b>{{ item.title }}</b><span>{{ item.price }}</span>
<i title="score {{ item.score }}"><i style="width:{{ item.share }}%"></i></i>
<small>{{ item.reasons }}</small></li>{% endfor %}</ol></div>{% endfor %}</div>
{% else %}<div{% if block.content|length > 1 %} class="side"{% endif %}>{% for svg, caption in block.content %}
<figure>{{ svg }}<figcaption>{{ caption }}</figcaption></figure>{% endfor %}</div>
{% endif %}
{% endfor %}
</section>
{% endfor %}
</main>
<footer>{{ footer }}{% if footer %} · {% endif %}written by shoprank {{ version }}</footer>
</div></body>
</html>
"""
