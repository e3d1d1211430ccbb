"""`shoprank synonyms`: what rules change in a catalog, and what is no rule."""

import json

from pipelines.tests.test_search_eval import shop

__all__ = ["shop"]

FLAGS = ("--items", "items.csv", "--mapping", "mapping.yaml")


def test_effects_of_rules_are_shown(shoprank, shop):
    (shop / "rules.txt").write_text("# ours\nmug => jug\nflurb => gizmo\n")
    done = shoprank("synonyms", "rules.txt", *FLAGS)
    assert done.code == 0, done.err
    assert "no item has 'gizmo' (flurb => gizmo)" in done.out and done.out.count("│") == 6
    effects = json.loads(shoprank("synonyms", "rules.txt", *FLAGS, "--json").out)
    assert [effect["text"] for effect in effects] == ["mug", "flurb"]
    assert effects[0]["after"] > effects[0]["before"] and effects[0]["best"] and not effects[1]["after"]


def test_lines_that_are_no_rules_and_files_that_cannot_be_read_are_refused(shoprank, shop):
    (shop / "rules.txt").write_text("a => b\nonly one\n")
    done = shoprank("synonyms", "rules.txt", *FLAGS)
    assert done.code == 2 and "line 2 of the synonyms is 'only one'" in done.err
    (shop / "rules.txt").write_text("# none\n")
    assert "rules.txt has no rule" in shoprank("synonyms", "rules.txt", *FLAGS).err
    (shop / "rules.txt").write_bytes(b"\xff\xfe\x00")
    assert "not UTF-8" in shoprank("synonyms", "rules.txt", *FLAGS).err
    assert "No such file" in shoprank("synonyms", "typo.txt", *FLAGS).err


def test_candidates_of_a_log_are_written_for_review_and_are_rules(shoprank, shop):
    rows = [("shopper", "at", "kind", "asked", "sku")]
    for day in range(1, 7):
        rows += [(f"u{day}", f"2026-01-0{day}T08:00:00Z", "search", "cuppa", ""),
                 (f"u{day}", f"2026-01-0{day}T08:01:00Z", "search", "black tea", ""),
                 (f"u{day}", f"2026-01-0{day}T08:02:00Z", "view", "", "2"),
                 *[(f"v{day}{n}", f"2026-01-0{day}T09:00:00Z", "search", "milk", "") for n in range(3)]]  # fmt: skip
    (shop / "events.csv").write_text("\n".join(map(";".join, rows)))
    names = {"user_id": "shopper", "timestamp": "at", "event_type": "kind", "query": "asked", "item_id": "sku"}
    lines = (shop / "mapping.yaml").read_text() + "events:\n" + "".join(f"  {a}: {b}\n" for a, b in names.items())
    (shop / "mapping.yaml").write_text(lines)
    done = shoprank("synonyms", "candidates.txt", "--mine", "events.csv", *FLAGS)
    assert done.code == 0, done.err
    assert "candidates.txt: 1 candidate of 30 searches, none applied" in done.out and "Black tea" in done.out
    text = (shop / "candidates.txt").read_text()
    assert text.splitlines()[1] == "cuppa => black tea  # 6 shoppers, lift 4.0"
    effects = json.loads(shoprank("synonyms", "candidates.txt", *FLAGS, "--json").out)
    assert [(effect["text"], effect["before"], effect["after"]) for effect in effects] == [("cuppa", 0, 1)]
    again = shoprank("synonyms", "candidates.txt", "--mine", "events.csv", *FLAGS)
    assert again.code == 2 and "candidates.txt exists" in again.err and (shop / "candidates.txt").read_text() == text
    none = shoprank("synonyms", "none.txt", "--mine", "events.csv", "--shoppers", 7, *FLAGS, "--json")
    assert json.loads(none.out)["candidates"] == [] and (shop / "none.txt").read_text().startswith("# Candidates")
