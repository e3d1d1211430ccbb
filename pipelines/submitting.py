"""Give compiled pipelines to a Kubeflow Pipelines server: submit a run, upload a version, schedule recurring runs."""

import contextlib
import datetime
import hashlib
import json
import re
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from components.shared.errors import InputError
from components.shared.version import VERSION
from pipelines.compiling import COMPILED, pipeline_named
from pipelines.connecting import Server
from pipelines.overrides import Overrides

INTERVAL = {"s": 1, "m": 60, "h": 3600, "d": 86400}
"""Seconds of the units of an interval."""
MOST_CONCURRENT_RUNS = 10
"""KFP's limit for one schedule."""
_EQUALS = 1
"""KFP's number of the operation EQUALS in a filter."""


@dataclass(frozen=True, kw_only=True)
class Submission:
    """What every run of a pipeline gets, whether submitted or scheduled."""

    pipeline: str
    """Name of the pipeline."""
    arguments: dict[str, Any]
    """Pipeline arguments; the rest keep their defaults."""
    name: str = ""
    """Name of the run or the schedule; empty: the pipeline's, for a run with the time."""
    experiment: str = "shoprank"
    """Experiment of the runs."""
    service_account: str = ""
    """Service account of the steps; empty: the server's default."""
    pipeline_root: str = ""
    """Where artifacts go; empty: the server's default."""
    overrides: Overrides = field(default_factory=Overrides)
    """What differs from the compiled pipeline."""

    @contextlib.contextmanager
    def package(self) -> Iterator[str]:
        """Yield the path of the compiled pipeline with the overrides.

        Raises:
            InputError: there is no such pipeline, or it is not compiled.
        """
        path = compiled(self.pipeline)
        if self.overrides == Overrides():
            yield str(path)
            return
        with tempfile.TemporaryDirectory() as folder:
            self.overrides.write(path, changed := Path(folder, path.name))
            yield str(changed)


@dataclass(frozen=True, kw_only=True)
class Trigger:
    """When a schedule starts its runs."""

    cron: str = ""
    """Crontab of 5 fields, KFP's of 6 (seconds first), or such as @daily; in the time zone of KFP's controller."""
    every: str = ""
    """Interval with its unit: 30m, 6h, 1d."""
    catch_up: bool = False
    """Whether to start the runs that were missed while the schedule or the server was off."""
    max_concurrency: int = 1
    """Runs at the same time, 1 to 10."""
    enabled: bool = True
    """Whether it starts runs at once, or after it has been enabled."""

    def fields(self) -> dict[str, Any]:
        """The arguments of kfp.Client.create_recurring_run.

        Raises:
            InputError: neither or both of cron and interval are given, or one is invalid.
        """
        if bool(self.cron) == bool(self.every):
            given = "--cron and --every are both given" if self.cron else "--cron or --every is missing"
            raise InputError(given, 'give one of them, such as --cron "0 2 * * *" or --every 6h')
        if not 1 <= self.max_concurrency <= MOST_CONCURRENT_RUNS:
            raise InputError(f"--max-concurrency is {self.max_concurrency}", f"give 1 to {MOST_CONCURRENT_RUNS}")
        when = {"cron_expression": _cron(self.cron)} if self.cron else {"interval_second": _seconds(self.every)}
        limits = {"no_catchup": not self.catch_up, "max_concurrency": self.max_concurrency, "enabled": self.enabled}
        return {**when, **limits}


def compiled(pipeline: str) -> Path:
    """Path of a compiled pipeline.

    Raises:
        InputError: there is no such pipeline, or it is not compiled.
    """
    pipeline_named(pipeline)
    path = COMPILED / f"{pipeline}.yaml"
    if not path.exists():
        raise InputError(f"{path} does not exist", "run `shoprank compile`")
    return path


def submit(server: Server, submission: Submission) -> str:
    """Create a run and return its ID.

    Raises:
        InputError: the compiled pipeline is missing.
        KfpError: the server is unreachable or rejects the run.
    """
    now = datetime.datetime.now().astimezone()
    with submission.package() as package:
        run = server.ask(
            server.client.create_run_from_pipeline_package, package, arguments=submission.arguments,
            run_name=submission.name or f"{submission.pipeline} {now:%Y-%m-%d %H:%M:%S}",
            experiment_name=submission.experiment, namespace=server.namespace,
            pipeline_root=submission.pipeline_root or None, service_account=submission.service_account or None,
        )  # fmt: skip
    return str(run.run_id)


def upload(server: Server, pipeline: str, name: str = "", version: str = "") -> tuple[str, bool]:
    """Upload a compiled pipeline: the first time as a pipeline, later as a new version of it.

    Args:
        server: The server.
        pipeline: Name of the pipeline.
        name: Its name on the server; empty: shoprank-PIPELINE.
        version: Name of the version; empty: the version of shoprank and a digest of the compiled pipeline.

    Returns:
        The page of the pipeline or version, and whether it was uploaded: a version named by its digest is there once.

    Raises:
        InputError: a version of the given name is there, or the compiled pipeline is missing.
        KfpError: the server is unreachable or rejects the pipeline.
    """
    path, client = compiled(pipeline), server.client
    name = name or f"shoprank-{pipeline}"
    listed = server.ask(client.list_pipelines, filter=_named(name), namespace=server.namespace)
    if not listed.pipelines:
        made = server.ask(client.upload_pipeline, str(path), pipeline_name=name, namespace=server.namespace)
        return server.page(f"pipelines/details/{made.pipeline_id}"), True
    pipeline_id = listed.pipelines[0].pipeline_id
    called = version or f"{VERSION}-{hashlib.sha256(path.read_bytes()).hexdigest()[:12]}"
    there = server.ask(client.list_pipeline_versions, pipeline_id, filter=_named(called)).pipeline_versions
    if there and version:
        raise InputError(f"--version {version}: the pipeline {name} has such a version", "give another name")
    found = there[0] if there else server.ask(
        client.upload_pipeline_version, str(path), pipeline_version_name=called, pipeline_id=pipeline_id
    )  # fmt: skip
    return server.page(f"pipelines/details/{pipeline_id}/version/{found.pipeline_version_id}"), not there


def schedule(server: Server, submission: Submission, trigger: Trigger, replace: bool = False) -> str:
    """Create a schedule of runs and return its page.

    Raises:
        InputError: the trigger is invalid, or the experiment has a schedule of this name and `replace` is False.
        KfpError: the server is unreachable or rejects the schedule.
    """
    fields, client = trigger.fields(), server.client
    name = submission.name or submission.pipeline
    experiment, present = _schedules(server, submission.experiment)
    old = [one for one in present if one.display_name == name]
    if old and not replace:
        raise InputError(f"--name {name}: experiment {submission.experiment} has such a schedule",
                         "give --replace, --enable or --disable, or another name")  # fmt: skip
    with submission.package() as package:
        made = server.ask(
            client.create_recurring_run, experiment, name, pipeline_package_path=package, params=submission.arguments,
            pipeline_root=submission.pipeline_root or None, service_account=submission.service_account or None,
            **fields,
        )  # fmt: skip
    for one in old:
        server.ask(client.delete_recurring_run, one.recurring_run_id)
    return server.page(f"recurringrun/details/{made.recurring_run_id}")


def switch(server: Server, experiment: str, name: str, enabled: bool) -> str:
    """Enable or disable the schedule called `name`, and return its page.

    Raises:
        InputError: the experiment has no such schedule.
        KfpError: the server is unreachable or rejects the request.
    """
    _, present = _schedules(server, experiment)
    found = [one for one in present if one.display_name == name]
    if not found:
        names = ", ".join(sorted({one.display_name for one in present})) or "none"
        raise InputError(f"--name {name}: experiment {experiment} has no such schedule", f"use one of: {names}")
    change = server.client.enable_recurring_run if enabled else server.client.disable_recurring_run
    for one in found:
        server.ask(change, one.recurring_run_id)
    return server.page(f"recurringrun/details/{found[0].recurring_run_id}")


def _schedules(server: Server, experiment: str) -> tuple[str, list[Any]]:
    """ID of the experiment, which is made if it is missing, and all its schedules."""
    made = server.ask(server.client.create_experiment, experiment, namespace=server.namespace)
    found: list[Any] = []
    token = ""
    while True:
        page = server.ask(
            server.client.list_recurring_runs, page_token=token, page_size=100, experiment_id=made.experiment_id
        )
        found += page.recurring_runs or []
        token = page.next_page_token or ""
        if not token:
            return str(made.experiment_id), found


def _named(name: str) -> str:
    """KFP's filter for one display name."""
    return json.dumps({"predicates": [{"operation": _EQUALS, "key": "display_name", "stringValue": name}]})


def _cron(text: str) -> str:
    """KFP's cron, which begins with seconds; it would read the minutes of a crontab as seconds."""
    fields = text.split()
    if re.fullmatch(r"@(yearly|annually|monthly|weekly|daily|midnight|hourly)", text):
        return text
    if len(fields) not in (5, 6) or not all(re.fullmatch(r"[\w*/,?-]+", field) for field in fields):
        raise InputError(f"--cron {text}", "give 5 fields (minute, hour, day, month, weekday), 6 with seconds first, "
                         "or such as @daily")  # fmt: skip
    return " ".join(fields if len(fields) == 6 else ["0", *fields])


def _seconds(text: str) -> int:
    found = re.fullmatch(r"(\d+)([smhd])", text)
    if not found or not int(found[1]):
        raise InputError(f"--every {text}", "give a number and its unit, such as 90s, 30m, 6h or 1d")
    return int(found[1]) * INTERVAL[found[2]]
