"""The compiled pipeline as a cluster gets it; parts of the YAML that kfp.local ignores are checked here."""

import json
import shutil

import pytest
import yaml
from kfp.components import load_component_from_text

from components.shared.errors import InputError
from components.shared.quantities import StepResources
from pipelines import resources
from pipelines.compacting import tasks_of as tasks_everywhere
from pipelines.compiling import COMPILED, IMAGES, PIPELINES, STAGES, compile_all, compiled_yaml, pipeline_yaml
from pipelines.resources import KEY_NAME, REGISTRY_MOUNT
from tests.pictures.drawing import depths, draw_pipeline, needed_arrows, tasks_of

TEXT = (COMPILED / "training.yaml").read_text()
SPECIFICATION, PLATFORM = yaml.safe_load_all(TEXT)
EXECUTORS = SPECIFICATION["deploymentSpec"]["executors"]
TASKS = tasks_of(SPECIFICATION)
TRAINING = ("exec-train-retriever", "exec-train-ranker")


def test_the_checked_in_yaml_is_current():
    names = [f"{pipeline}{form}.yaml" for pipeline in PIPELINES for form in ("", ".kubernetes")]
    stages = sorted(path.parent for path in STAGES.glob("*/component.py"))
    assert compile_all(check=True) == [
        *(COMPILED / name for name in names),
        IMAGES,
        *(one / "component.yaml" for one in stages),
    ]
    assert sorted(path.name for path in COMPILED.glob("*.yaml")) == sorted(names)


def test_stale_file_is_refused_until_it_is_compiled(tmp_path, monkeypatch):
    monkeypatch.setattr("pipelines.compiling.COMPILED", tmp_path)
    monkeypatch.setattr("pipelines.compiling.IMAGES", tmp_path / "images.yaml")
    for path in STAGES.glob("*/component.py"):
        (tmp_path / path.parent.name).mkdir()
        shutil.copyfile(path, tmp_path / path.parent.name / "component.py")
    monkeypatch.setattr("pipelines.compiling.STAGES", tmp_path)
    with pytest.raises(InputError, match="is stale"):
        compile_all(check=True)
    compile_all(check=False)
    assert compile_all(check=True)


def test_compiling_twice_gives_the_same_text():
    assert pipeline_yaml(PIPELINES["training"]) == TEXT


def test_training_is_half_of_what_it_was():
    # 90,527 bytes with the sources of the components, at which a finished run's page no longer loaded.
    assert len(TEXT.encode()) <= 90_527 / 2
    for one in EXECUTORS.values():
        assert len(" ".join([*one["container"]["command"], *one["container"]["args"]])) < 120


@pytest.mark.parametrize("pipeline", PIPELINES)
def test_short_yaml_has_the_graph_and_the_inputs_of_kfps_own(pipeline):
    whole = list(yaml.safe_load_all(compiled_yaml(PIPELINES[pipeline])))
    short = list(yaml.safe_load_all((COMPILED / f"{pipeline}.yaml").read_text()))
    assert short[0]["root"]["inputDefinitions"] == whole[0]["root"]["inputDefinitions"]
    assert load_component_from_text(yaml.safe_dump_all(short)).component_spec.inputs.keys() == set(
        short[0]["root"]["inputDefinitions"]["parameters"]
    )
    for part in whole[0]["components"].values():
        for definitions in (part.get("inputDefinitions", {}), part.get("outputDefinitions", {})):
            for definition in (one for kind in definitions.values() for one in kind.values()):
                definition.pop("description", None)
    for task in tasks_everywhere(whole[0]):
        if not task.get("cachingOptions", True):
            del task["cachingOptions"]
    for name, component in whole[0]["components"].items():
        for parameter, definition in component.get("inputDefinitions", {}).get("parameters", {}).items():
            shorter = short[0]["components"][name]["inputDefinitions"]["parameters"][parameter]
            if shorter.keys() != definition.keys():
                uses = [task for task in tasks_everywhere(whole[0]) if task["componentRef"]["name"] == name]
                assert all(parameter in task["inputs"]["parameters"] for task in uses), "the default is never used"
                definition.pop("defaultValue"), definition.pop("isOptional")
    assert short[0]["components"] == whole[0]["components"]
    assert short[0]["root"] == whole[0]["root"]
    executors = [one[1]["platforms"]["kubernetes"]["deploymentSpec"]["executors"] for one in (short, whole)]
    for name, settings in executors[0].items():
        for field, value in settings.items():
            for one, other in zip(value, executors[1][name][field], strict=True) if isinstance(value, list) else ():
                assert one.items() <= other.items()
                gone = {key: other[key] for key in other.keys() - one.keys()}
                assert all(json.dumps(text) in json.dumps(one) for text in gone.values()), "said by the newer field"


def test_nothing_is_installed_at_run_time():
    assert "pip install" not in TEXT and "latest" not in {
        e["container"]["image"].split(":")[-1] for e in EXECUTORS.values()
    }


def placeholder(parameter):
    return f"{{{{$.inputs.parameters['pipelinechannel--{parameter}']}}}}"


@pytest.mark.parametrize("pipeline", PIPELINES)
def test_resources_of_the_training_steps_are_strings_and_checked_first(pipeline):
    specification = next(yaml.safe_load_all((COMPILED / f"{pipeline}.yaml").read_text()))
    parameters = specification["root"]["inputDefinitions"]["parameters"]
    own = {name for name in StepResources.model_fields if name in parameters}
    assert own == (set() if pipeline == "catalog" else {"gpus", "cpu", "memory"})
    defaults = StepResources()
    for name in own:
        assert (parameters[name]["parameterType"], parameters[name]["defaultValue"]) == (
            "STRING", getattr(defaults, name),
        )  # fmt: skip
        given = specification["root"]["dag"]["tasks"]["check-parameters"]["inputs"]["parameters"][name]
        assert given == {"componentInputParameter": name}


@pytest.mark.parametrize("pipeline", PIPELINES)
def test_no_step_runs_as_root(pipeline):
    specification, platform = yaml.safe_load_all((COMPILED / f"{pipeline}.yaml").read_text())
    executors = platform["platforms"]["kubernetes"]["deploymentSpec"]["executors"]
    for name in specification["deploymentSpec"]["executors"]:
        assert executors[name]["securityContext"] == {"runAsNonRoot": True, "runAsUser": "1000", "runAsGroup": "1000"}


def test_every_step_has_limits_and_retries():
    for name, executor in EXECUTORS.items():
        limits = executor["container"]["resources"]
        assert limits["resourceCpuLimit"] and limits["resourceMemoryLimit"], name
        if name in TRAINING:
            assert limits["resourceCpuLimit"] == limits["resourceCpuRequest"] == placeholder("cpu")
            assert limits["resourceMemoryLimit"] == limits["resourceMemoryRequest"] == placeholder("memory")

    def walk(dag):
        for name, task in dag["tasks"].items():
            component = SPECIFICATION["components"][task["componentRef"]["name"]]
            if "dag" in component:
                walk(component["dag"])
            else:
                assert task["retryPolicy"]["maxRetryCount"] == (5 if name == "rollout-model" else 2)
                days = 14 if name in ("train-retriever", "train-ranker", "rollout-model") else 1
                assert task["retryPolicy"]["backoffMaxDuration"] == f"{days * 86_400}s", "counts from the first start"

    walk(SPECIFICATION["root"]["dag"])


def test_only_training_steps_request_gpus_and_tolerate_their_taint():
    platform = PLATFORM["platforms"]["kubernetes"]["deploymentSpec"]["executors"]
    for name, executor in EXECUTORS.items():
        accelerator = executor["container"]["resources"].get("accelerator")
        tolerations = platform.get(name, {}).get("tolerations", [])
        assert bool(accelerator) == bool(tolerations) == (name in TRAINING), name
        if accelerator:
            assert accelerator["resourceType"] == tolerations[0]["key"] == resources.GPU


def test_release_steps_are_never_cached():
    def cached(dag, found):
        for name, task in dag["tasks"].items():
            component = SPECIFICATION["components"][task["componentRef"]["name"]]
            if "dag" in component:
                cached(component["dag"], found)
            else:
                found[name] = bool(task.get("cachingOptions", {}).get("enableCache"))
        return found

    found = cached(SPECIFICATION["root"]["dag"], {})
    assert {name for name, on in found.items() if on} == {
        "ingest-events", "validate-data", "build-features", "train-retriever", "train-ranker", "compile-model",
    }  # fmt: skip


def test_release_steps_run_only_for_a_blessed_model():
    guarded = {name for name, (_, condition) in TASKS.items() if condition}
    assert guarded == {"compile-model", "register-model", "validate-serving", "deploy-model", "rollout-model"}
    by_strategy = {
        name: "!=" in task["triggerPolicy"]["condition"]
        for part in SPECIFICATION["components"].values()
        for name, task in part.get("dag", {}).get("tasks", {}).items()
        if "strategy" in task.get("triggerPolicy", {}).get("condition", "")
    }
    assert sorted(by_strategy.values()) == [False, True], "one or the other"
    assert needed_arrows(TASKS)["compile-model"] == {"evaluate-model"}
    depth = depths(TASKS)
    assert depth["deploy-model"] == max(depth.values())


@pytest.mark.parametrize("pipeline", PIPELINES)
def test_nothing_is_read_before_the_parameters_are_checked(pipeline):
    tasks = tasks_of(next(yaml.safe_load_all((COMPILED / f"{pipeline}.yaml").read_text())))
    assert [name for name, at in depths(tasks).items() if at == 0] == ["check-parameters"]
    reader = "refresh-catalog" if pipeline == "catalog" else "ingest-events"
    assert needed_arrows(tasks)[reader] == {"check-parameters"}


def test_picture_shows_every_task(tmp_path):
    draw_pipeline(COMPILED / "training.yaml", tmp_path / "a.svg")
    text = (tmp_path / "a.svg").read_text()
    assert all(part in text for name in TASKS for part in name.split("-"))


def test_training_passes_its_pod_settings_to_the_nodes_of_a_train_job():
    platform = PLATFORM["platforms"]["kubernetes"]["deploymentSpec"]["executors"]
    for name in TRAINING:
        component = SPECIFICATION["components"][name.replace("exec-", "comp-")]
        passed = component["taskConfigPassthroughs"]
        assert {entry["field"] for entry in passed} == {
            "RESOURCES", "ENV", "KUBERNETES_TOLERATIONS", "KUBERNETES_NODE_SELECTOR", "KUBERNETES_AFFINITY",
            "KUBERNETES_VOLUMES",
        }  # fmt: skip
        assert all(entry["applyToTask"] for entry in passed), "with launch=process the pod itself trains"
        assert component["inputDefinitions"]["parameters"]["task_config"]["parameterType"] == "TASK_CONFIG"
        accelerator = EXECUTORS[name]["container"]["resources"]["accelerator"]
        assert accelerator["resourceCount"] == placeholder("gpus")
        assert all(entry["optional"] for entry in platform[name]["secretAsEnv"])
        assert platform[name]["fieldPathAsEnv"][0]["name"] == "KFP_RUN_ID"


def steps(specification):
    """(name, task, component) of every step of a compiled pipeline."""

    def walk(dag):
        for name, task in dag["tasks"].items():
            component = specification["components"][task["componentRef"]["name"]]
            if "dag" in component:
                yield from walk(component["dag"])
            else:
                yield name, task, component

    return list(walk(specification["root"]["dag"]))


@pytest.mark.parametrize("pipeline", PIPELINES)
def test_pipeline_parameters_reach_every_step_that_accepts_them(pipeline):
    specification = next(yaml.safe_load_all((COMPILED / f"{pipeline}.yaml").read_text()))
    offered = set(specification["root"]["inputDefinitions"]["parameters"])
    for name, task, component in steps(specification):
        accepted = set(component.get("inputDefinitions", {}).get("parameters", {}))
        passed = task.get("inputs", {}).get("parameters", {})
        assert offered & accepted <= set(passed), name
        if "options" in accepted:
            section = {"build-features": "features", "evaluate-model": "evaluation", "compile-model": "compile"}[name]
            given = passed["options"]["componentInputParameter"]
            assert given.removeprefix("pipelinechannel--") == section


@pytest.mark.parametrize(("pipeline", "step"), [("training", "evaluate-model"), ("catalog", "refresh-catalog")])
def test_champion_is_verified_with_the_key_of_the_config_map(pipeline, step):
    specification = next(yaml.safe_load_all((COMPILED / f"{pipeline}.yaml").read_text()))
    (task,) = (task for name, task, _ in steps(specification) if name == step)
    assert task["inputs"]["parameters"]["public_key"] == {"componentInputParameter": "public_key"}
    defaults = specification["root"]["inputDefinitions"]["parameters"]
    for name in ("public_key", "signing_key"):
        assert not defaults[name]["defaultValue"].startswith(REGISTRY_MOUNT), "what is trusted is not on that volume"


@pytest.mark.parametrize("pipeline", ["training", "catalog"])
def test_only_the_step_that_signs_can_read_the_private_key(pipeline):
    _, platform = yaml.safe_load_all((COMPILED / f"{pipeline}.yaml").read_text())
    executors = platform["platforms"]["kubernetes"]["deploymentSpec"]["executors"]

    def mounting(kind):
        return {name: one[kind] for name, one in executors.items()
                if any(KEY_NAME in json.dumps(mount) for mount in one.get(kind, []))}  # fmt: skip

    (mounts,) = mounting("secretAsVolume").values()
    assert set(mounting("secretAsVolume")) == {"exec-register-model"}
    assert [(mount["mountPath"], mount["optional"]) for mount in mounts] == [("/etc/shoprank/signing", True)]
    # The first step gets the public half of the Secret only.
    (given,) = mounting("secretAsEnv").values()
    assert set(mounting("secretAsEnv")) == {"exec-check-parameters"}
    (keys,) = (one["keyToEnv"] for one in given if KEY_NAME in json.dumps(one))
    assert keys == [{"secretKey": "signing.pem.pub", "envVar": "SHOPRANK_SIGNING_PUBLIC_KEY"}]
    verifying = {"exec-check-parameters", "exec-register-model", "exec-validate-serving"}
    verifying.add("exec-evaluate-model" if pipeline == "training" else "exec-refresh-catalog")
    assert set(mounting("configMapAsVolume")) == verifying
