"""The configuration: files, --set, refusals by path, and how to add an option."""

import json

import pytest
import yaml

from components.shared.errors import InputError
from components.shared.options import Amount
from components.shared.schema.sizes import size_named
from components.train_ranker import space
from components.train_ranker.config import RankerOptions, RankerTraining
from pipelines import config
from pipelines.cli.configuring import SCHEMA
from pipelines.compiling import parameters_of
from pipelines.config import FLAT, SECTIONS, ShopConfig, as_yaml, defaults, given_options, pipeline_arguments


@pytest.mark.parametrize(
    ("arguments", "headline", "fix"),
    [
        (("run", "nonsense"), "PIPELINE is 'nonsense'", "training"),
        (("run", "tuning"), "PIPELINE is 'tuning'", "shoprank tune"),
        (("run", "training", "--size", "huge"), "size is 'huge'", "tiny, small, full"),
        (("run", "training", "--set", "seed"), "--set seed", "path=value"),
        (("run", "training", "--set", "seed=x"), "seed is 'x'", "a whole number"),
        (("run", "training", "--set", "gpus=1"), "gpus is 1", "a string"),
        (("run", "training", "--set", "ranker.hot_candidate=3"), "ranker.hot_candidate is not", "'hot_candidates'"),
        (("run", "training", "--set", "rankers.hot_candidates=3"), "rankers is not an option", "'ranker'"),
        (("run", "training", "--set", "hot_candidates=3"), "hot_candidates is no longer", "ranker.hot_candidates"),
        (("run", "training", "--set", "precision=int4"), "precision is no longer", "compile.table_format"),
        (("run", "training", "--set", "data={mapping: ["), "--set data={mapping: [", "YAML"),
        (("run", "training", "--mapping", "a=b"), "--mapping a=b: neither a file nor JSON", "user_id"),
        (("run", "training", "--mapping", "{user_id: x}"), "--mapping is not JSON", '{"user_id": "visitor"}'),
        (
            ("run", "training", "--mapping", "none.json"),
            "--mapping none.json: there is no such file",
            "JSON or YAML file",
        ),
        (("run", "training", "--config", "none.yaml"), "--config none.yaml", "YAML or JSON"),
        (
            ("run", "training", "--set", "tuning.study=x"),
            "this pipeline has no option tuning",
            "source, size",
        ),
        (("run", "training", "--set", "seed=2026-01-01"), "seed is '2026-01-01'", "a whole number"),
        (("run", "training", "--set", "data.validation.max_price=.inf"), "data.validation.max_price is inf", "finite"),
        (("run", "training", "--set", "data=&d {mapping: *d}"), "is nested too deeply", "alias"),
        (("run", "training", "--set", "ranker={epochs: 1, epochs: 2}"), "'epochs' is given twice", "YAML"),
        (("run", "training", "--set", "data.previous_statistics=x"), "data.previous_statistics is no", "validation"),
        (
            ("run", "training", "--set", "data.validation.orphan_warning=0.9"),
            "orphan_warning is 0.9, above",
            "below the error",
        ),
        (("run", "training", "--set", ".=3"), "--set .=3", "path=value"),
        (("run", "training", "--set", "source="), "source is ''", "not empty"),
        (("run", "training", "--set", "gpus=two"), "gpus is 'two'", 'a whole number as a string, such as "1"'),
        (("config", "--set", "cpu=8"), "cpu is 8", '"250m"'),
        (("config", "--set", "memory=32"), "memory is 32", '"32Gi"'),
        (
            ("submit", "training", "--host", "http://127.0.0.1:9", "--set", "memory=32GB"),
            "memory is '32GB'",
            "with its unit",
        ),
        (("run", "training", "--set", "ranker.refit=null"), "ranker.refit is null", "true or false"),
        (
            ("submit", "training", "--host", "http://127.0.0.1:9", "--set", "strategy=guarded"),
            "rollout.evidence is",
            "Prom",
        ),
        (("tune", "--workers", "0"), "--workers is 0", "1 or 2"),
        (("tune", "--trials", "-1"), "--trials is -1", "or 0"),
        (("tune", "--size", "huge"), "size is 'huge'", "tiny, small, full"),
        (("tune", "--set", "nope=1"), "nope is not an option", "ranker"),
        (("tune", "--set", "rollout.poll_s=3"), "this pipeline has no option rollout", "tuning"),
        (("submit", "training", "--host", "http://127.0.0.1:9", "--set", "nope=1"), "nope is not an option", "source"),
        (
            ("submit", "training", "--host", "http://127.0.0.1:9", "--set", "release.mode=x"),
            "release.mode is 'x'",
            "Knat",
        ),
        (("config", "--set", "seed=x"), "seed is 'x'", "a whole number"),
        (("report", "nowhere"), "RUN: nowhere contains no run", "output folder"),
        (("refresh", "items.csv", "--mapping", "[1]"), "--mapping is a list, not an object", '{"user_id": "visitor"}'),
        (("refresh", "items.csv", "--set", "data.time_format=%Q"), "'%Q' is not known", "one of"),
        (("run", "training", "--mapping", "[1]"), "--mapping is a list, not an object", '{"user_id": "visitor"}'),
        (("ask", "--k", "600"), "k is 600, but an answer has 1 to 500 items", "--k from 1 to 500"),
        (("ask", "--k", "0", "--url", "http://127.0.0.1:9"), "k is 0, but an answer has 1 to 500 items", "--k from 1"),
        (("rollback", "--registry", "typo"), "registry 'typo' does not exist", "s3:// URI"),
        *(
            (command, "there is no shoprank output in 'typo'", "shoprank run training --out typo")
            for command in (
                ("rollback", "--out", "typo"),
                ("rollback", "--out", "typo", "--service", "shoprank"),
                ("promote", "--out", "typo"),
                ("report", "--out", "typo"),
                ("serve", "--out", "typo"),
                ("refresh", "items.csv", "--out", "typo"),
                ("registry", "gc", "--keep", "1", "--out", "typo"),
                ("audit", "verify", "--out", "typo"),
                ("audit", "log", "--out", "typo"),
            )
        ),
    ],
)
def test_invalid_arguments_are_refused_before_anything_starts(
    shoprank, tmp_path, monkeypatch, arguments, headline, fix
):
    monkeypatch.chdir(tmp_path)
    done = shoprank(*arguments)
    assert done.code == 2 and headline in done.err and "fix:" in done.err and fix in done.err
    assert not list(tmp_path.iterdir())


def test_file_and_settings_are_merged_and_the_last_setting_wins(tmp_path):
    file = tmp_path / "shop.yaml"
    file.write_text("size: tiny\nranker:\n  hot_candidates: 5\n  architecture: {heads: {kind: mmoe}}\n")
    settings = ["ranker.hot_candidates=20", "retriever.encoder={kind: gru, hidden_dim: 64}", "seed=1", "seed=2",
             "ranker.architecture.heads.experts=4", "release.lineage.note=",
             "release.lineage.run=r1"]  # fmt: skip
    assert given_options(file, settings) == {
        "size": "tiny", "seed": 2,
        "ranker": {"hot_candidates": 20, "architecture": {"heads": {"kind": "mmoe", "experts": 4}}},
        "retriever": {"encoder": {"kind": "gru", "hidden_dim": 64}}, "release": {"lineage": {"note": "", "run": "r1"}},
    }  # fmt: skip
    file.write_text(json.dumps({"size": "tiny"}))
    assert given_options(file, []) == {"size": "tiny"} and given_options(None, []) == {}
    file.write_text("[1]")
    with pytest.raises(InputError, match="is not a mapping"):
        given_options(file, [])


@pytest.mark.parametrize("size", ["tiny", "small", "full"])
def test_printed_config_contains_the_defaults_of_the_size(size, shoprank, tmp_path):
    text = as_yaml(size)
    assert yaml.safe_load(text) == defaults(size_named(size))
    (tmp_path / "shop.yaml").write_text(text)
    given = given_options(tmp_path / "shop.yaml", [])
    found = space.configured(RankerTraining.from_size(size_named(size)), given["ranker"])
    assert found.digest_settings == RankerTraining.from_size(size_named(size)).digest_settings
    seeded = space.configured(RankerTraining.from_size(size_named(size), seed=5), given["ranker"])
    assert seeded.optimizer.seed == 5, "a printed file does not fix the seed of a training"
    described = [line for line in text.splitlines() if line.lstrip().startswith("#")]
    assert len(described) > 100, "every option has a comment"


def test_every_option_has_a_description():
    undescribed = []

    def look(model, path):
        for name, field in model.model_fields.items():
            if name != "kind" and not field.description:
                undescribed.append(f"{path}.{name}")

    for name, model in SECTIONS.items():
        look(model, name)
    look(ShopConfig, "")
    assert undescribed == []


def test_checked_in_schema_is_current_and_names_every_option():
    assert SCHEMA.read_text(encoding="utf-8") == config.schema(), "run `shoprank compile`"
    schema = json.loads(config.schema())
    assert list(schema["properties"]) == [*FLAT, *SECTIONS]
    assert schema["additionalProperties"] is False


@pytest.mark.parametrize("pipeline", ["training", "tuning", "catalog"])
def test_every_parameter_of_a_pipeline_is_an_option(pipeline):
    parameters = set(parameters_of(pipeline))
    assert parameters - {"workers", "items_source"} <= set(ShopConfig.model_fields)
    assert pipeline_arguments({"nothing": 1}, sorted(parameters)) == {}, "a file may serve several pipelines"
    with pytest.raises(InputError, match="this pipeline has no option"):
        pipeline_arguments({"nothing": 1}, sorted(parameters), ["nothing"])


def test_a_configuration_of_the_training_serves_the_catalog(tmp_path):
    (tmp_path / "shop.yaml").write_text(
        "size: tiny\nranker: {hot_candidates: 5}\ndata: {items_source: items.csv, mapping: {items.item_id: sku}}\n"
    )
    given = given_options(tmp_path / "shop.yaml", ["data.null_words=[none]"])
    data = {"items_source": "items.csv", "mapping": {"items.item_id": "sku"}, "null_words": ["none"]}
    assert pipeline_arguments(given, parameters_of("catalog"), ["data"]) == {"data": data}


def test_step_that_waits_for_a_train_job_asks_for_little():
    nodes = ["training.launch=trainjob", "training.exchange=s3://bucket/exchange"]
    parameters = parameters_of("training")

    def own(*words):
        arguments = pipeline_arguments(given_options(None, [*nodes, *words]), parameters)
        return {name: arguments[name] for name in ("gpus", "cpu", "memory") if name in arguments}

    assert own() == {"cpu": "1", "memory": "4Gi"}, "its GPUs are the number of the nodes'"
    assert own("training.node_gpus=8") == {"cpu": "1", "memory": "4Gi", "gpus": "0"}
    assert own("training.node_gpus=8", "memory=16Gi", "gpus='1'") == {"cpu": "1", "memory": "16Gi", "gpus": "1"}
    assert pipeline_arguments(given_options(None, ["training.processes=2"]), parameters) == {
        "training": {"processes": 2}
    }, "a step that trains in its own pod keeps the defaults of the pipeline"


def test_new_option_needs_only_one_field(monkeypatch, shoprank):
    """The command line, `shoprank config`, the schema and the step know it without another change."""

    class MoreRanker(RankerOptions):
        """With one more."""

        surprise_candidates: Amount = 7
        """Candidates drawn at random."""

    class MoreTraining(MoreRanker, RankerTraining):
        """The step's."""

    class MoreShop(ShopConfig):
        """The whole."""

        ranker: MoreRanker = MoreRanker()
        """The ranker."""

    monkeypatch.setattr(config, "ShopConfig", MoreShop)
    monkeypatch.setattr(config, "RankerTraining", MoreTraining)
    monkeypatch.setattr(space, "RankerOptions", MoreRanker)
    given = given_options(None, ["ranker.surprise_candidates=9"])
    assert pipeline_arguments(given, parameters_of("training")) == {"ranker": {"surprise_candidates": 9}}
    assert "# Candidates drawn at random.\n  surprise_candidates: 7\n" in shoprank_output(shoprank, "config")
    assert "surprise_candidates" in json.loads(config.schema())["$defs"]["MoreRanker"]["properties"]
    assert space.configured(MoreTraining(), given["ranker"]).surprise_candidates == 9
    assert "surprise_candidates is -1" in shoprank("run", "training", "--set", "ranker.surprise_candidates=-1").err


def shoprank_output(shoprank, *arguments) -> str:
    done = shoprank(*arguments)
    assert done.code == 0
    return done.out
