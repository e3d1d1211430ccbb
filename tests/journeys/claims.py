"""The blocks of the READMEs that each journey executes, and those that are only checked."""

JOURNEYS: dict[str, tuple[str, ...]] = {
    "demo": ("README.md#two-commands:sh",),
    "local": (
        "README.md#one-request-and-its-answer:sh",
        "README.md#one-request-and-its-answer:sh2",
        "README.md#one-request-and-its-answer:sh3",
        "pipelines/README.md#configuration:sh",
        "pipelines/README.md#run-locally:sh",
        "pipelines/README.md#compile-and-lint:sh",
        "manifests/README.md#registry-audit-and-other-stores:sh",
    ),
    "serving": (
        "serving/README.md#serving:sh",
        "serving/README.md#answer:sh",
        "serving/README.md#answer:sh2",
        "serving/README.md#answer:python",
        "serving/README.md#facets-sorts-and-pages:sh",
        "serving/README.md#events:sh",
        "serving/README.md#explain:sh",
        "serving/README.md#monitoring:sh",
    ),
    "own shop": ("README.md#your-own-shop:sh",),
    "own pipeline": ("components/README.md#use-a-stage-in-your-own-pipeline:python",),
}
"""Journey -> the blocks that it executes, each in one journey."""

CLUSTER, DOCKER = "needs a cluster", "needs a Docker engine"
HOURS = "takes from many minutes to hours"

CHECKED_ONLY: dict[str, str] = {
    "README.md#two-commands:sh2": "runs the tests, this one among them",
    "README.md#on-a-cluster:sh": CLUSTER,
    "manifests/README.md#a-local-cluster:sh": f"{DOCKER} and image registries",
    "manifests/README.md#install:sh": CLUSTER,
    "manifests/README.md#train-and-deploy:sh": CLUSTER,
    "manifests/README.md#train-and-deploy:sh2": CLUSTER,
    "manifests/README.md#guarded-rollout:sh": CLUSTER,
    "manifests/README.md#guarded-rollout:sh2": CLUSTER,
    "pipelines/README.md#submit:sh": CLUSTER,
    "pipelines/README.md#the-registry-and-its-keys:sh": CLUSTER,
    "tests/cluster/README.md#tests-on-kubernetes:sh": "starts a Kubernetes, as the tests themselves do",
    "components/encode_text/README.md#encode_text:sh": "trains a model; test_learned_search.py exports an encoder",
    "components/train_relevance/README.md#train_relevance:sh": "needs judgments; test_learned_search.py makes some",
    "components/evaluate_search/README.md#evaluate_search:sh": "needs judgments; test_search_eval.py makes some",
    "pipelines/README.md#tune:sh": HOURS,
    "serving/README.md#rules:sh": "needs a file of rules; pipelines/tests/test_rules.py writes some",
    "serving/README.md#access:sh": "prints a key; serving/tests/test_access_file.py reads what it prints",
    "serving/README.md#exploration:sh": "needs the logs of two predictors under traffic; test_logged.py makes such",
    "tests/README.md#tests:sh": f"runs the tests, this one among them; {DOCKER}; {CLUSTER}",
    "tests/benchmarks/README.md#run:sh": HOURS,
    "tests/benchmarks/README.md#run:sh2": HOURS,
}
"""Block that is not executed -> why. test_commands.py checks each of its commands without running it: `make -n` knows
the target, `kubectl kustomize` renders the folder, `--help` of a command or module has every flag."""
