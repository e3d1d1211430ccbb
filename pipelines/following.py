"""Follow a run on a KFP server to its end: states, failed steps with their last lines, and cancellation.

What the API of KFP 2.17 says of a run: `state`; `state_history`, without CANCELING; and `run_details.task_details`, the
nodes of Argo's workflow, where the pod that runs a step is called `executor` below a node with the step's name. A
terminated run is CANCELING for seconds and then FAILED, so only the states seen on the way tell it from a failure.
Logs are at `/apis/v1alpha1/runs/RUN/nodes/POD/log` of the API server and at `/k8s/pod/logs` of the UI.
"""

import re
import time
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass
from typing import Any

import httpx

from pipelines.connecting import Server
from pipelines.refusals import CancelledRun, FailedRun, KfpError

POLL_S = 5.0
"""Seconds between two queries of the run's state."""
MISSED = 24
"""Queries in a row that may go unanswered."""
LAST_LINES, MOST_LINES_READ_S = 20, 10.0
"""Lines of a failed step's log that are shown, and seconds spent on reading it."""
ENDED = ("SUCCEEDED", "FAILED", "CANCELED", "SKIPPED")
_EXECUTOR = re.compile(r"executor(\(\d+\))?")
_POD = re.compile(r"(executor|.+-driver)(\(\d+\))?")
"""Nodes that are pods; a number is that of an attempt. The others are the graphs around them."""


@dataclass(frozen=True)
class FailedStep:
    """A step that failed."""

    step: str
    """Its name in the pipeline."""
    message: str
    """What KFP says of it; often nothing."""
    last_lines: tuple[str, ...]
    """The end of its log; empty if the server has none."""


@dataclass(frozen=True)
class EndedRun:
    """A run that has ended."""

    run: str
    """Its address in the UI."""
    run_id: str
    state: str
    """Its last state: SUCCEEDED, FAILED, CANCELED or SKIPPED."""
    cancelled: bool
    """Whether somebody terminated it."""
    message: str
    """What KFP says of the run; often nothing."""
    failed_steps: tuple[FailedStep, ...]

    def document(self) -> dict[str, Any]:
        """The run for programs."""
        return asdict(self)

    def check(self) -> None:
        """Return if the run succeeded.

        Raises:
            CancelledRun: it was terminated.
            FailedRun: it failed.
        """
        fix = f"see {self.run}"
        if self.cancelled:
            raise CancelledRun(f"run {self.run_id} was cancelled (last state {self.state})", fix)
        if self.state == "SUCCEEDED":
            return
        said = f": {self.message}" if self.message else ""
        if not self.failed_steps:
            raise FailedRun(
                f"run {self.run_id} {'failed' if self.state == 'FAILED' else f'ended as {self.state}'}{said}; "
                "the server names no failed step", fix,
            )  # fmt: skip
        parts = [_sentence(step) for step in self.failed_steps]
        raise FailedRun(f"run {self.run_id} failed{said}: {'; '.join(parts)}", fix)


def _sentence(step: FailedStep) -> str:
    said = f": {step.message}" if step.message else ""
    return f"step {step.step}{said}{'' if step.last_lines else ' (the server has no log of it)'}"


def follow(server: Server, run_id: str, on_state: Callable[[str], None]) -> EndedRun:
    """Report every change of the run's state until it ends; tolerates two minutes without the server.

    Args:
        server: The server that has the run.
        run_id: The run.
        on_state: Called with one line per change.

    Raises:
        KfpError: the server stays away, or refuses access.
    """
    address = server.page(f"runs/details/{run_id}")
    seen: list[str] = []
    missed = 0
    while True:
        try:
            run, missed = server.ask(server.client.runs.run_service_get_run, run_id=run_id, _request_timeout=30), 0
        except KfpError as error:
            missed += 1
            if missed > MISSED or error.status in (401, 403, 404):
                raise KfpError(f"run {run_id} goes on, but {error.headline}", f"{error.fix}; see {address}") from error
        else:
            state = str(run.state)
            if seen[-1:] != [state]:
                on_state(f"run {run_id}: {state}")
                seen.append(state)
            if state in ENDED:
                return _ended(server, run, address, seen)
        time.sleep(POLL_S)


def _ended(server: Server, run: Any, address: str, seen: list[str]) -> EndedRun:
    history = [str(one.state) for one in run.state_history or []]
    state = seen[-1]
    cancelled = state == "CANCELED" or (state != "SUCCEEDED" and "CANCELING" in {*seen, *history})
    message = str(run.error.message or "") if run.error else ""
    tasks = (run.run_details.task_details if run.run_details else None) or []
    steps = () if cancelled or state == "SUCCEEDED" else tuple(_failed_steps(server, run.run_id, tasks))
    return EndedRun(address, run.run_id, state, cancelled, message, steps)


def _failed_steps(server: Server, run_id: str, tasks: list[Any]) -> Iterable[FailedStep]:
    """One per failed step; of several attempts of a step the last."""
    failed = {_number(task.pod_name): task for task in tasks if task.state == "FAILED" and task.pod_name}
    below = {number: [_number(child.pod_name) for child in task.child_tasks or [] if child.pod_name]
             for number, task in failed.items()}  # fmt: skip
    above = {child: number for number, children in below.items() for child in children}
    found: dict[str, Any] = {}
    leaves = [number for number, children in below.items() if not any(child in failed for child in children)]
    pods = [number for number in leaves if _POD.fullmatch(failed[number].display_name or "")]
    for number in sorted(pods or leaves, key=lambda one: str(failed[one].end_time or "")):
        step = number
        while _EXECUTOR.fullmatch(failed[step].display_name or "") and above.get(step) in failed:
            step = above[step]
        name, driver = re.subn(r"-driver(\(\d+\))?$", "", failed[step].display_name or "")
        found[f"{name} (its driver)" if driver else name] = failed[number]
    for name, task in found.items():
        message = str(task.error.message or "") if task.error else ""
        yield FailedStep(name, message, last_lines(server, run_id, task.pod_name))


def _number(pod_name: str) -> str:
    """The hash that ends both a pod's name and Argo's ID of its node."""
    return pod_name.rpartition("-")[2]


def last_lines(server: Server, run_id: str, pod: str) -> tuple[str, ...]:
    """The end of a pod's log, from the API server or else from the UI; empty if neither has it."""
    host, namespace = server.connection.host, server.namespace or "kubeflow"
    places = (
        (f"{host}/apis/v1alpha1/runs/{run_id}/nodes/{pod}/log", {}),
        (f"{host}/k8s/pod/logs", {"podname": pod, "runid": run_id, "podnamespace": namespace}),
    )
    connection = server.connection
    with httpx.Client(headers=connection.identity(), verify=connection.trust(), timeout=5, trust_env=False) as client:
        for url, query in places:
            try:
                with client.stream("GET", url, params=query) as answer:
                    if answer.status_code == 200 and "html" not in answer.headers.get("content-type", ""):
                        return _tail(answer.iter_lines())
            except httpx.HTTPError:
                continue
    return ()


def _tail(lines: Iterable[str]) -> tuple[str, ...]:
    kept: deque[str] = deque(maxlen=LAST_LINES)
    until = time.monotonic() + MOST_LINES_READ_S
    for line in lines:
        if line.strip():
            kept.append(line.rstrip())
        if time.monotonic() > until:
            break
    return tuple(kept)
