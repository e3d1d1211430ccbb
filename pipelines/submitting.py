"""Submit a compiled pipeline to a Kubeflow Pipelines server."""

import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from components.shared.errors import InputError, ServingError
from pipelines.compiling import COMPILED, pipeline_named


@dataclass(frozen=True, kw_only=True)
class Submission:
    """A pipeline run to submit."""

    pipeline: str
    """Name of the pipeline."""
    host: str
    """Address of the KFP API or UI."""
    namespace: str
    """Namespace of the run; empty for a single-user server."""
    experiment: str
    """Experiment the run belongs to."""
    arguments: dict[str, Any]
    """Pipeline arguments; the rest keep their defaults."""
    wait: bool = False
    """Whether to wait for the end of the run."""
    poll_s: float = 5.0
    """Seconds between two queries of the run's state."""


def submit(submission: Submission, on_state: Callable[[str], None] = print) -> str:
    """Create the run and return its address.

    Args:
        submission: The run to submit.
        on_state: Called with the run's state whenever it changes, while waiting.

    Raises:
        InputError: the compiled pipeline is missing.
        ServingError: the KFP server is unreachable or rejects the run, or the awaited run failed.
    """
    path = COMPILED / f"{submission.pipeline}.yaml"
    pipeline_named(submission.pipeline)
    if not path.exists():
        raise InputError(f"{path} does not exist", "run `shoprank compile`")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import kfp
        import kfp_server_api
        import urllib3

        try:
            client = kfp.Client(host=submission.host, namespace=submission.namespace or "kubeflow")
            result = client.create_run_from_pipeline_package(
                str(path), arguments=submission.arguments, experiment_name=submission.experiment,
                namespace=submission.namespace or None, enable_caching=None,
            )  # fmt: skip
        except (kfp_server_api.ApiException, urllib3.exceptions.HTTPError, OSError, RuntimeError) as error:
            reason = getattr(error, "reason", None) or str(error).splitlines()[0]
            raise ServingError(
                f"--host {submission.host}: {reason}",
                "check the address (kubectl -n kubeflow port-forward svc/ml-pipeline-ui 8080:80) and your access",
            ) from error
        address = f"{submission.host.rstrip('/')}/#/runs/details/{result.run_id}"
        if submission.wait:
            _follow(client, str(result.run_id), address, on_state, submission.poll_s)
    return address


def _follow(client: Any, run_id: str, address: str, on_state: Callable[[str], None], poll_s: float) -> None:
    """Report every change of the run's state until it ends; tolerates temporary loss of the server."""
    import kfp_server_api
    import urllib3

    last, away = "", 0
    while last not in ("SUCCEEDED", "FAILED", "CANCELED", "SKIPPED"):
        try:
            state, away = str(client.get_run(run_id).state), 0
        except (kfp_server_api.ApiException, urllib3.exceptions.HTTPError, OSError) as error:
            away += 1
            if away > 24:
                raise ServingError(f"run {run_id}: the KFP server is unreachable: {error}", f"see {address}") from error
            state = last
        if state != last:
            on_state(f"run {run_id}: {state}")
        last = state
        if last not in ("SUCCEEDED", "FAILED", "CANCELED", "SKIPPED"):
            time.sleep(poll_s)
    if last != "SUCCEEDED":
        raise ServingError(f"run {run_id} ended as {last}", f"see {address}")
