"""The guarded rollout: dark launch, golden requests, traffic in steps under guards, then promote or roll back.

The state is saved in the registry's rollout.json after each observation, so a killed step can resume; a step that is
stopped by a signal first returns all traffic to the champion.
"""

import contextlib
import signal
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from types import FrameType
from typing import Any

from components.rollout_model.config import RolloutPlan
from components.rollout_model.evidence import Evidence
from components.rollout_model.guards import Action, Interval, Verdict
from components.rollout_model.judge import Judge
from components.rollout_model.record import PROMOTED, ROLLED_BACK, Observation, RolloutRecord, downsampled
from components.shared.cluster.lease import LostLease, RolloutLease
from components.shared.cluster.traffic import Traffic
from components.shared.errors import ClusterError, ServingError
from components.shared.features.spec import FeatureSpec
from components.shared.progress import report
from components.shared.release.golden import read_golden
from components.shared.release.registry import Registry
from components.shared.telemetry.endpoint import endpoint

ADDRESS_S = 30.0
"""Seconds for a candidate's address to lead to its pods."""


class Stopped(BaseException):
    """The step was stopped by SIGTERM or Ctrl-C."""


@dataclass
class Rollout:
    """The rollout of one candidate.

    Attributes:
        registry: model registry. name: model name. version: version of the candidate. plan: steps and limits.
        traffic: traffic split of the service. evidence: source of the counts of champion and candidate.
        lease: lets one process decide at a time, and carries a person's wish to abort.
        ends_with_process: whether a signal rolls back; False where another process goes on, as in a Job.
    """

    registry: Registry
    name: str
    version: str
    plan: RolloutPlan
    traffic: Traffic
    evidence: Evidence
    lease: RolloutLease
    ends_with_process: bool = True
    _judge: Judge = field(init=False)
    _state: dict[str, Any] = field(default_factory=dict, init=False)
    _seen: list[Observation] = field(default_factory=list, init=False)

    def run(self) -> RolloutRecord:
        """Roll out the candidate, or roll it back.

        Returns:
            Observations and decision.

        Raises:
            LostLease: another process decides this rollout; nothing was changed.
            ClusterError: the rollback failed because the API rejected it or is unavailable; run it again to resume.
            Stopped: the step was stopped by a signal; all traffic is back on the champion.
        """
        with self.lease.held():
            return self._run()

    def _run(self) -> RolloutRecord:
        self._resume_or_begin()
        if self.traffic.champion() == self.version:
            return self._finish(PROMOTED, [])
        try:
            with _stop_on_signals() if self.ends_with_process else contextlib.nullcontext():
                why = self._dark_launch() or self._steps()
        except Stopped:
            self._finish(ROLLED_BACK, ["the step was stopped before the end of the rollout"])
            raise
        except LostLease:
            raise
        except ClusterError as error:
            # If traffic cannot be increased, return it rather than leave it unmonitored.
            why = [f"the cluster rejected a change: {error.headline}"]
        return self._finish(ROLLED_BACK if why else PROMOTED, why)

    def _resume_or_begin(self) -> None:
        state = self.registry.rollout_state(self.name)
        known = state.get("candidate") == self.version
        # Without its candidate, somebody has aborted it; as champion, only the books are left to be written.
        if known and self.version in (self.traffic.candidate(), self.traffic.champion()):
            self._state, self._judge = state, Judge.from_json(state["judge"])
            self._seen = [Observation.from_json(one) for one in state["seen"]]
            self.evidence.restore(state["evidence"])
            return
        self._judge = Judge(self.plan.guards)
        self._state = {"candidate": self.version, "champion": self.traffic.champion(), "began": time.time(), "at": -1}
        self._log("rollout_begin")
        self._save()

    def _dark_launch(self) -> list[str]:
        """Start the candidate without live traffic and check it; return the reasons for a rollback, [] if it passed."""
        if self._state["at"] >= 0:
            return []
        report("rollout_model", 0.0, "dark launch")
        try:
            self.traffic.launch(self.version)
            bundle = self.registry.resolve(f"{self.name}/{self.version}")
            with endpoint(self.traffic.urls()[1], self.plan.model) as candidate_endpoint:
                candidate_endpoint.wait_for_version(self.version, ADDRESS_S)
                now = FeatureSpec.read(bundle / "spec.json").as_of
                candidate_endpoint.replay(read_golden(bundle), now=now, version=self.version)
            slow = self.evidence.p99()
        except ServingError as error:
            return [f"dark launch: {error.headline}"]
        if slow is None:
            return ["dark launch: the champion has no answered requests to compare with"]
        self._state.update(slow=slow, parity=len(read_golden(bundle)))
        return []

    def _steps(self) -> list[str]:
        """Run the steps; return the reasons for a rollback, [] if all passed."""
        for at, percent in enumerate(self.plan.steps):
            if at < self._state["at"]:
                continue
            if at > self._state["at"]:
                self.traffic.shift(percent)
                self._judge.start_step(percent / 100, final=at + 2 >= len(self.plan.steps))
                self.evidence.begin(self._state["slow"])
                self._state["at"] = at
                self._save()
            why = self._watch(at, percent)
            if why:
                return why
        return []

    def _watch(self, at: int, percent: int) -> list[str]:
        """Observe until this step is decided; return the reasons for a rollback, [] if it passed."""
        down = 0
        while True:
            time.sleep(self.plan.poll_s)
            wish = self.lease.check()
            if wish:
                return [f"aborted at {percent} %: {wish}"]
            interval = self.evidence.read(self._state["slow"])
            verdict = self._judge.observe(interval)
            self._record(percent, interval, verdict)
            report("rollout_model", at / len(self.plan.steps), f"{percent} %: {verdict.reasons[0]}")
            down = 0 if self.traffic.ready() else down + 1
            if down >= self.plan.unready_looks:
                return [f"at {percent} %: the candidate's pods were not ready at {down} consecutive observations"]
            if verdict.action is Action.ROLL_BACK:
                return list(verdict.reasons)
            if verdict.action is Action.PASS:
                return []

    def _record(self, percent: int, interval: Interval, verdict: Verdict) -> None:
        looked = Observation(time=time.time(), percent=percent, interval=interval, verdict=verdict)
        self._seen = downsampled([*self._seen, looked])
        self._save()

    def _finish(self, action: str, why: list[str]) -> RolloutRecord:
        """Move the traffic, update registry and audit log, remove the saved state and return the record."""
        decided = time.time()
        if action == PROMOTED:
            try:
                self.traffic.promote()
            except (ServingError, ClusterError) as error:
                action, why = ROLLED_BACK, [f"promotion: {error.headline}"]
        if action == ROLLED_BACK:
            self.traffic.abort()
        else:
            self.registry.promote(self.name, self.version)
        moved = time.time()
        last = self._seen[-1].verdict.reasons if self._seen else ()
        record = RolloutRecord(
            model=self.name, champion=self._state["champion"], candidate=self.version, action=action,
            reasons=tuple(why) or tuple(last), began=self._state["began"], decided=decided, moved=moved,
            slow=self._state.get("slow"), steps=self.plan.steps, guards=self.plan.guards, seen=tuple(self._seen),
        )  # fmt: skip
        self._log(action, reasons=list(record.reasons), seconds_to_move=round(moved - decided, 2))
        self.registry.end_rollout(self.name)
        return record

    def _save(self) -> None:
        self.registry.save_rollout(self.name, {
            **self._state, "judge": self._judge.to_json(), "evidence": self.evidence.to_json(),
            "seen": [one.to_json() for one in self._seen],
        })  # fmt: skip

    def _log(self, action: str, **facts: Any) -> None:
        names = {"version": self.version, "champion": self._state["champion"]}
        self.registry.audit(self.name).append(action, **names, **facts)


@contextlib.contextmanager
def _stop_on_signals() -> Iterator[None]:
    """Raise Stopped on SIGTERM and Ctrl-C; works only in the main thread."""

    def stop(*_: int | FrameType | None) -> None:
        raise Stopped

    before: dict[int, Callable[..., Any] | int | None] = {}
    with contextlib.suppress(ValueError):  # signal handlers are only allowed in the main thread
        before = {number: signal.signal(number, stop) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
