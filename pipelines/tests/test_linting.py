"""The linter finds a mistake of each kind in the compiled YAML; the Kubernetes-native form is valid by its CRD."""

import copy

import pytest
import yaml
from kfp import dsl

from components.shared.errors import InputError
from pipelines import resources
from pipelines.cli.app import main
from pipelines.compiling import COMPILED, compiled_yaml
from pipelines.linting import lint
from pipelines.resources import apply
from tests import custom_resources

TEXT = (COMPILED / "training.yaml").read_text()
NATIVE = (COMPILED / "training.kubernetes.yaml").read_text()


def container(documents, name="exec-train-ranker"):
    return documents[0]["deploymentSpec"]["executors"][name]["container"]


def platform(documents, name="exec-train-ranker"):
    return documents[1]["platforms"]["kubernetes"]["deploymentSpec"]["executors"].setdefault(name, {})


def task(documents, name="deploy-model"):
    graphs = [documents[0]["root"], *documents[0]["components"].values()]
    return next(graph for graph in graphs if name in graph.get("dag", {}).get("tasks", {}))["dag"]["tasks"][name]


def inputs(documents):
    return documents[0]["root"]["inputDefinitions"]["parameters"]


MISTAKES = {
    "run-time install": [
        lambda d: container(d).update(command=["sh", "-c", "python3 -m pip install kfp && exec $0"]),
        lambda d: container(d).update(args=["apt-get install -y git"]),
    ],
    "moving image": [
        lambda d: container(d).update(image="localhost:5001/shoprank/train:latest"),
        lambda d: container(d).update(image="localhost:5001/shoprank/train"),
    ],
    "no resources": [
        lambda d: container(d)["resources"].pop("resourceMemoryLimit"),
        lambda d: container(d, "exec-build-features")["resources"].pop("resourceMemoryLimit"),
        lambda d: container(d).pop("resources") and platform(d).pop("tolerations"),
    ],
    "accelerator without toleration": [lambda d: platform(d).pop("tolerations")],
    "toleration without accelerator": [lambda d: container(d)["resources"].pop("accelerator")],
    "may run as root": [
        lambda d: platform(d).pop("securityContext"),
        lambda d: platform(d)["securityContext"].pop("runAsNonRoot"),
        lambda d: platform(d)["securityContext"].update(runAsUser="0"),
    ],
    "no retries": [lambda d: task(d).pop("retryPolicy")],
    "short retries": [
        lambda d: task(d)["retryPolicy"].update(backoffMaxDuration="3600s"),
        lambda d: task(d, "train-ranker")["retryPolicy"].update(backoffMaxDuration="86400s"),
        lambda d: task(d, "rollout-model")["retryPolicy"].update(backoffMaxDuration="86400s"),
    ],
    "quantity": [
        lambda d: container(d, "exec-build-features")["resources"].update(
            resourceMemoryLimit="{{$.inputs.parameters['size']}}"
        ) or task(d, "build-features")["inputs"]["parameters"].update(size={"componentInputParameter": "seed"}),
    ],
    "secret": [
        lambda d: inputs(d).update(registry_password={"parameterType": "STRING"}),
        lambda d: inputs(d)["signing_key"].update(defaultValue="-----BEGIN PRIVATE KEY-----"),
        lambda d: inputs(d)["model_name"].update(defaultValue="AKIA" + "ABCDEFGH12345678"),
        lambda d: container(d).update(env=[{"name": "AWS_SECRET_ACCESS_KEY", "value": "x"}]),
        lambda d: task(d)["inputs"]["parameters"].update(
            version={"runtimeValue": {"constant": "c2VjcmV0" * 6}}
        ),
    ],
    "cached release": [lambda d: task(d).update(cachingOptions={"enableCache": True})],
}  # fmt: skip


def test_compiled_pipelines_have_no_findings():
    assert lint(TEXT) == [] and lint(NATIVE) == []


@pytest.mark.parametrize(("rule", "plant"), [(rule, plant) for rule, plants in MISTAKES.items() for plant in plants])
def test_each_mistake_is_the_only_finding(rule, plant):
    documents = copy.deepcopy(list(yaml.safe_load_all(TEXT)))
    plant(documents)
    found = lint(yaml.safe_dump_all(documents))
    assert [finding.rule for finding in found] == [rule], found
    assert found[0].where and found[0].fix


@dsl.component(base_image="image:1", install_kfp_package=False)
def count() -> int:
    """Number of accelerators, as a number."""
    return 2


@dsl.component(base_image="image:1", install_kfp_package=False)
def work(gpus: str = "1"):
    """Does nothing."""


@pytest.mark.parametrize("source", ["parameter", "output"])
@pytest.mark.parametrize(
    ("field", "names"),
    [
        ("set_accelerator_limit", "accelerator.resourceCount"), ("set_cpu_limit", "resourceCpuLimit"),
        ("set_memory_request", "resourceMemoryRequest"),
    ],
)  # fmt: skip
def test_a_number_in_a_resource_field_is_found_with_task_and_parameter(source, field, names):
    @dsl.pipeline(name="numbers")
    def numbers(amount: int = 1, text: str = "1"):
        first = apply(count(), resources.CHECK)
        with dsl.ParallelFor(items=["a"]):
            task = apply(work(), resources.TRAIN, {"gpus": text})
            chosen = amount if source == "parameter" else first.output
            getattr(task, field)(chosen)
            task.register_pipeline_channels([chosen])

    (found,) = lint(compiled_yaml(numbers))
    assert (found.rule, found.where) == ("quantity", "work")
    assert names in found.what and "NUMBER_INTEGER" in found.what and "string" in found.fix
    assert ("amount" if source == "parameter" else "Output") in found.what


def test_a_mistake_in_the_native_form_is_found():
    pipeline, version = yaml.safe_load_all(NATIVE)
    executors = version["spec"]["pipelineSpec"]["deploymentSpec"]["executors"]
    executors["exec-train-ranker"]["container"]["image"] = "train:latest"
    assert [finding.rule for finding in lint(yaml.safe_dump_all([pipeline, version]))] == ["moving image"]


@pytest.mark.skipif(not custom_resources.FOLDER.is_dir(), reason=f"no CRDs in {custom_resources.FOLDER}")
def test_native_form_is_valid_and_contains_the_same_pipeline():
    pipeline, version = yaml.safe_load_all(NATIVE)
    assert custom_resources.errors(pipeline) == [] and custom_resources.errors(version) == []
    assert version["spec"]["pipelineName"] == pipeline["metadata"]["name"]
    specification, platforms = yaml.safe_load_all(TEXT)
    assert version["spec"]["pipelineSpec"] == specification and version["spec"]["platformSpec"] == platforms


@pytest.mark.parametrize("text", ["a: [", "just words", "kind: Pod", "- 1\n- 2"])
def test_text_that_is_not_a_pipeline_is_refused(text):
    with pytest.raises(InputError, match=r"not YAML|not a compiled pipeline"):
        lint(text)


def test_lint_command_prints_findings_and_exits_with_1(tmp_path, monkeypatch, capsys):
    wrong = tmp_path / "wrong.yaml"
    wrong.write_text(TEXT.replace("train:0.1.0", "train:latest"))
    monkeypatch.setattr("sys.argv", ["shoprank", "lint", str(COMPILED / "training.yaml"), str(wrong)])
    with pytest.raises(SystemExit) as ended:
        main()
    output = capsys.readouterr().out
    findings = f"2 files, {TEXT.count('train:0.1.0')} findings"
    assert ended.value.code == 1 and "moving image: exec-train-ranker" in output and findings in output
