"""A shop of eight items and its judgments, as files."""

import json
from pathlib import Path

ITEMS = [
    ("1", "Green tea", "Loose leaves from Fujian", "Dragon", "Drinks > Tea"),
    ("2", "Black tea", "Strong, for milk", "Dragon", "Drinks > Tea"),
    ("3", "Tea pot", "Holds one litre", "Clayworks", "Kitchen"),
    ("4", "Oat milk", "For coffee and tea", "Oatly", "Drinks > Milk"),
    ("5", "燕麦奶 1L", "", "燕麦", "Drinks > Milk"),
    ("6", "Milk jug", "Steel", "Clayworks", "Kitchen"),
    ("7", "Coffee beans", "Dark roast", "Roaster", "Drinks > Coffee"),
    ("8", "Coffee mill", "Grinds beans", "Clayworks", "Kitchen"),
]
JUDGMENTS = [
    ("tea", "1", 3), ("tea", "2", 3), ("tea", "3", 1), ("tea", "7", 0),
    ("clayworks", "3", 2), ("clayworks", "8", 1),
    ("燕麦奶", "5", 3), ("steel", "1", 0),
]  # fmt: skip


def write(path: Path, names, rows) -> Path:
    lines = [json.dumps(dict(zip(names, row, strict=True)), ensure_ascii=False) for row in rows]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path
