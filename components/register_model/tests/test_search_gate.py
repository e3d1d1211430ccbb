"""Judgments as a release gate: a worse search is refused by name before it is registered, an equal one passes."""

import json
import re
import shutil

import pytest
from kfp.dsl import Artifact, Model

from components.evaluate_search.tests.small_shop import write
from components.register_model.component import register_model
from components.register_model.register import RegisterConfig, register
from components.shared.errors import InputError, RegistryError
from components.shared.evaluation.decision import Decision
from components.shared.release.bundle import read_manifest, verify
from components.shared.release.config import SearchGate
from components.shared.release.registry import Registry
from components.shared.release.signing import create_key, load_public_key
from components.shared.search.documents import Document, read_documents
from components.shared.search.searching import CatalogSearch
from serving.tests.handmade import write_compiled, write_golden

JUDGMENTS = [("oat milk", "oat", 3), ("greek yogurt", "yogurt", 3), ("yogurt", "yogurt", 2), ("燕麦奶", "燕麦", 3)]


@pytest.fixture(scope="module")
def compiled(tmp_path_factory):
    folder = write_compiled(tmp_path_factory.mktemp("gate") / "compiled")
    write_golden(folder)
    return folder


@pytest.fixture(scope="module")
def worse(compiled, tmp_path_factory):
    """The same model, in whose index yogurt has lost its title."""
    folder = shutil.copytree(compiled, tmp_path_factory.mktemp("worse") / "compiled")
    shutil.rmtree(folder / "search")
    (folder / "search").mkdir()

    def documents():
        for one in read_documents(compiled / "items.parquet"):
            yield Document(one.item_id, "Unnamed") if one.item_id == "yogurt" else one

    CatalogSearch.build(documents, folder / "search")
    return folder


@pytest.fixture
def shop(tmp_path):
    """Folder with keys and judgments."""
    create_key(tmp_path / "key.pem")
    write(tmp_path / "judgments.jsonl", ("query", "item_id", "grade"), JUDGMENTS)
    return tmp_path


def config(shop, **gate):
    judged = {"judgments": str(shop / "judgments.jsonl")} if "judgments" not in gate else {}
    return RegisterConfig(registry=shop / "registry", name="shop", signing_key=shop / "key.pem",
                          public_key=shop / "key.pem.pub", search=SearchGate(**{**judged, **gate}))  # fmt: skip


@pytest.fixture
def champion(shop, compiled):
    """Version of a champion without judgments."""
    version = register(compiled, None, shop / "champion", config(shop, judgments="")).version
    Registry(shop / "registry").promote("shop", version)
    return version


def test_a_worse_search_is_refused_by_its_rule_with_figures_and_queries(shop, worse, champion):
    with pytest.raises(RegistryError) as refusal:
        register(worse, None, shop / "bundle", config(shop))
    said = refusal.value.headline
    found = re.search(
        r"rule release\.search\.tolerance: nDCG@10 (0\.\d+) beside the champion's 1\.0000 of 4 judged queries "
        r"\((-[\d.]+), 95 % interval (-[\d.]+) to ([+-][\d.]+)\) may be worse by more than 0\.02",
        said,
    )
    assert found, said
    ndcg, mean, low, high = map(float, found.groups())
    assert mean == pytest.approx(ndcg - 1, abs=2e-4) and low < -0.02 and low < mean < high
    assert said.endswith("most worsened: 'greek yogurt' -1.00"), said
    assert "the champion is unchanged" in refusal.value.fix
    registry = Registry(shop / "registry")
    assert registry.versions("shop") == [champion] and not (shop / "bundle").exists()
    assert registry.aliases("shop") == {"candidate": champion, "champion": champion}


def test_an_equal_search_passes_and_its_figures_are_kept(shop, compiled, champion):
    other = shutil.copytree(compiled, shop / "other")
    (other / "licences.json").write_text('{"items": "ours"}\n')
    result = register(other, None, shop / "bundle", config(shop))
    assert result.version != champion and Registry(shop / "registry").aliases("shop")["candidate"] == result.version
    manifest = verify(shop / "bundle", load_public_key(shop / "key.pem.pub"))
    assert manifest.metrics == result.search
    assert (result.search["search_shoprank_ndcg_at_10"], result.search["search_champion_ndcg_at_10"]) == (1.0, 1.0)
    assert result.search["search_difference_to_champion_low"] == 0.0


def test_a_tolerance_may_be_wide_and_a_minimum_holds_without_a_champion(shop, worse, champion, compiled):
    wide = register(worse, None, shop / "a", config(shop, tolerance=1.0)).search
    assert wide["search_difference_to_champion"] < -0.1
    alone = {"registry": shop / "new", "name": "shop", "signing_key": shop / "key.pem"}
    judgments = str(shop / "judgments.jsonl")
    with pytest.raises(RegistryError, match=r"rule release\.search\.min_ndcg: nDCG@10 0\.\d+ of 4 .* is below 0\.9"):
        register(worse, None, shop / "b", RegisterConfig(**alone, search=SearchGate(judgments=judgments, min_ndcg=0.9)))
    found = register(compiled, None, shop / "c", RegisterConfig(**alone, search=SearchGate(judgments=judgments)))
    assert "search_champion_ndcg_at_10" not in found.search


def test_a_champion_that_cannot_be_opened_blocks_nothing(shop, worse, compiled, capsys):
    create_key(shop / "old.pem")
    old = RegisterConfig(registry=shop / "registry", name="shop", signing_key=shop / "old.pem")
    Registry(shop / "registry").promote("shop", register(compiled, None, shop / "champion", old).version)
    assert register(worse, None, shop / "bundle", config(shop)).search["search_shoprank_ndcg_at_10"] < 0.9
    assert "cannot be opened" in capsys.readouterr().out


def test_judgments_of_no_item_and_bare_queries_are_refused(shop, compiled, champion):
    write(shop / "judgments.jsonl", ("query", "item_id", "grade"), [("tea", "nothing", 3)])
    with pytest.raises(InputError, match="no judged item of"):
        register(compiled, None, shop / "bundle", config(shop))
    write(shop / "judgments.jsonl", ("query",), [("oat milk",)])
    with pytest.raises(InputError, match="have no grades"):
        register(compiled, None, shop / "bundle", config(shop))


def test_component_reads_the_gate_from_the_section_release(shop, worse, champion):
    Decision(True, (), {"ndcg_at_10": 0.25}).write(shop)
    bundle = Model(uri=str(shop / "bundle"))
    where = {"compiled": Model(uri=str(worse)), "evaluation": Artifact(uri=str(shop)), "bundle": bundle,
             "registry": str(shop / "registry"), "model_name": "shop", "signing_key": str(shop / "key.pem"),
             "public_key": str(shop / "key.pem.pub")}  # fmt: skip
    gate = {"judgments": str(shop / "judgments.jsonl")}
    with pytest.raises(RegistryError, match=r"release\.search\.tolerance"):
        register_model.python_func(**where, release={"search": gate})
    version = register_model.python_func(**where, release={"search": {**gate, "tolerance": 1}})
    assert bundle.metadata["search_difference_to_champion"] < -0.1
    assert version == read_manifest(shop / "bundle").version
    stored = json.loads((shop / "bundle" / "bundle.json").read_text())["metrics"]
    assert stored["ndcg_at_10"] == 0.25 and stored["search_champion_ndcg_at_10"] == 1.0
