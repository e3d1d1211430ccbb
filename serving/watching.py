"""Records every instance in metrics and the inference log, and sends copies to a shadow."""

import asyncio
import contextlib
import time
from collections.abc import Iterator, Sequence

from components.shared.telemetry.inference_log import BUSY, EMPTY, ERROR, OK, Answered, LogWriter
from serving.answers import Answer
from serving.metrics import ANSWER_SECONDS, CANCELLED, LOG_DROPPED, OUTCOMES
from serving.protocol import Instance
from serving.shadow import Shadow, ShadowConfig


class RequestObserver:
    """Metrics, log and shadow of one served version.

    Args:
        version: Version of the bundle.
        log: Inference log, or None.
        shadow: Shadow that gets copies, or None.
    """

    def __init__(self, version: str, log: LogWriter | None, shadow: ShadowConfig | None):
        self._version, self._log = version, log
        self._shadow = Shadow(shadow, self._log.write if self._log else lambda _: None) if shadow else None

    @contextlib.contextmanager
    def counting_failures(self, request_id: str, copy: bool, busy: tuple[type[Exception], ...]) -> Iterator[None]:
        """Count one failed instance if the body raises; `busy` are the errors of an overloaded model.

        A client that goes away, as one does that types on, is no failure of the version.
        """
        started, outcome = time.perf_counter(), ERROR
        try:
            yield
            outcome = ""
        except asyncio.CancelledError:
            outcome = ""
            CANCELLED.inc()
            raise
        except busy:
            outcome = BUSY
            raise
        finally:
            if outcome:
                self._note(request_id, outcome, time.perf_counter() - started, copy, None)

    def answered(self, instances: Sequence[Instance], answers: Sequence[Answer], seconds: float, copy: bool) -> None:
        """Record the answers to one request.

        Args:
            instances: Its instances.
            answers: One each.
            seconds: Duration of the request.
            copy: Whether the request is itself a copy; copies are not copied again.
        """
        for instance, answer in zip(instances, answers, strict=True):
            if answer.suggestions is not None:
                # No answer that a rollout compares or an event refers to; many a fast one would hide slow answers.
                continue
            self._note(answer.request_id, OK if answer.items else EMPTY, seconds, copy, answer)
            if self._shadow and not copy:
                self._shadow.send(instance, answer)

    def close(self) -> None:
        """Flush the log and the shadow."""
        if self._shadow:
            self._shadow.close()
        if self._log:
            self._log.close()

    def _note(self, request_id: str, outcome: str, seconds: float, copy: bool, answer: Answer | None) -> None:
        traffic = "shadow" if copy else "live"
        OUTCOMES.labels(self._version, outcome, traffic).inc()
        ANSWER_SECONDS.labels(self._version, traffic).observe(seconds)
        if self._log:
            items = tuple(item.item_id for item in answer.items) if answer else ()
            self._log.write(Answered(
                time=time.time(), request_id=request_id, version=self._version, outcome=outcome,
                seconds=round(seconds, 6), shadow=copy, items=items,
                propensities=answer.propensities if answer else (),
            ))  # fmt: skip
            LOG_DROPPED.set(self._log.dropped)
