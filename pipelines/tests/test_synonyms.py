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
