"""`shoprank rules`: what rules change in the answers of a bundle, what is wrong with them, their schema."""

import json
import re
from pathlib import Path

import pytest

from components.shared.recommender.rules.reading import parse_rules
from components.shared.release.registry import Registry
from serving.tests.handmade import write_bundle

RULES = """
fences: {price_max: 25}
rules:
  - name: berries first
    when: {kind: query, texts: [milks, 牛奶]}
    from: 2026-06-01
    actions:
      - {kind: pin, items: [berries, 0012]}
      - {kind: bury, items: [oat], factor: 0}
  - name: sale
    when: {kind: category, names: [Snacks]}
    actions: [{kind: redirect, to: /sale}]
  - name: never
    when: {kind: query, match: words, texts: [sofa]}
    until: 2020-12-31
    actions: [{kind: hide, brands: [Okea]}]
"""


@pytest.fixture(scope="session")
def bundle(tmp_path_factory):
    folder = tmp_path_factory.mktemp("signed")
    return write_bundle(folder / "bundle", folder / "signing.pem")


@pytest.fixture
def shop(tmp_path, monkeypatch, bundle):
    """Current folder with rules.yaml."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "rules.yaml").write_text(RULES, encoding="utf-8")
    return tmp_path


def test_effects_on_the_queries_of_the_rules_and_on_large_categories(shoprank, shop, bundle):
    flags = ("rules", "rules.yaml", "--bundle", bundle, "--at", "2026-07-01")
    done = shoprank(*flags)
    assert done.code == 0, done.err
    assert "new → 1  Blueberries 500g" in done.out and "2 → 4  Oat milk 1L" in done.out
    assert "opens /sale" in done.out
    assert "rule 'berries first': the catalog lacks item '0012'" in done.out
    assert "rule 'never': the catalog lacks brand 'Okea'" in done.out
    assert "rule 'never' acts in none of these answers at that time" in done.out
    found = json.loads(shoprank(*flags, "--json").out)
    effects = {effect["query"]: effect for effect in found["effects"]}
    assert effects["milks"]["rules"] == ["berries first"] and effects["milks"]["entered"] == ["berries"]
    assert effects["牛奶"]["items"][0] == "berries"
    assert effects["Snacks"]["redirect"] == "/sale" and "BERRIES" not in effects
    assert found["idle"] == ["never"] and found["title"]["oat"] == "Oat milk 1L"


def test_rules_apply_at_a_time_and_to_given_queries(shoprank, shop, bundle):
    (shop / "queries.txt").write_text("oat milk\n\nmilk\n", encoding="utf-8")
    (shop / "queries.csv").write_text("query,clicks\nsnack,3\nmilk,1\nsnack,2\n", encoding="utf-8")
    early = json.loads(shoprank("rules", "rules.yaml", "--bundle", bundle, "--at", "2026-05-31", "--json").out)
    assert "milks" not in {effect["query"] for effect in early["effects"]}
    for name, count in (("queries.txt", 6), ("queries.csv", 5)):
        flags = ("--bundle", bundle, "--at", "2026-06-01", "--queries", name, "--json")
        found = json.loads(shoprank("rules", "rules.yaml", *flags).out)
        assert found["queries"] == count and "milks" in {effect["query"] for effect in found["effects"]}
    assert json.loads(shoprank("rules", "rules.yaml", *flags, "--top", "1").out)["queries"] == 5


def test_default_is_the_champion_of_the_output_folder(shoprank, shop, bundle):
    registry = Registry(shop / "out" / "registry")
    registry.promote("handmade", registry.add(bundle))
    assert shoprank("rules", "rules.yaml", "--model-name", "handmade").code == 0
    assert shoprank("rules", "rules.yaml", "--out", "typo").code == 2
    assert "--at is 'soon'" in shoprank("rules", "rules.yaml", "--model-name", "handmade", "--at", "soon").err


def test_wrong_files_are_refused_with_line_and_fix(shoprank, shop, bundle):
    (shop / "rules.yaml").write_text(RULES.replace("factor: 0", "factor: 2"), encoding="utf-8")
    done = shoprank("rules", "rules.yaml", "--bundle", bundle)
    assert done.code == 2 and "rules.yaml, line 9, rule 'berries first': rules[0].actions[1].factor is 2" in done.err
    assert "give a number below 1" in done.err
    assert "No such file" in shoprank("rules", "typo.yaml").err
    assert "no file of rules is given" in shoprank("rules").err
    (shop / "rules.yaml").write_text("[]", encoding="utf-8")
    assert "has no rules" in shoprank("rules", "rules.yaml").err


def test_the_example_of_the_readme_is_read():
    text = (Path(__file__).parents[2] / "serving" / "README.md").read_text(encoding="utf-8")
    example = re.findall(r"\n## Rules\n.*?```yaml\n(.*?)```", text, re.DOTALL)[0]
    assert [len(rule.actions) for rule in parse_rules(example, "README.md").rules] == [3]


def test_schema_is_for_editors(shoprank):
    schema = json.loads(shoprank("rules", "--schema").out)
    assert set(schema["properties"]) == {"fences", "rules"} and "from" in schema["$defs"]["Rule"]["properties"]
    assert schema["$defs"]["Pin"]["properties"]["position"]["description"]
