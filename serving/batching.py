"""Micro-batching: what waits while a batch runs is answered together by the next one.

Nothing waits for a batch to fill: an idle model takes a request at once, and the busier it is, the more requests it
finds waiting. Lives in the event loop, so that it needs no locks; only the answers are computed in threads.
"""

import asyncio
import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

from serving.metrics import BATCH_ROWS, LATE, PENDING, REFUSED, STAGE
from serving.protocol import Instance


class Overloaded(Exception):
    """The queue is full: HTTP 429 with Retry-After, gRPC RESOURCE_EXHAUSTED."""

    def __init__(self, pending: int, retry_after_s: int):
        super().__init__(f"{pending} requests are waiting; try again in {retry_after_s} s, or add replicas")
        self.retry_after_s = retry_after_s


class DeadlineExceeded(Exception):
    """There is no answer within the time that the request had: HTTP 504, gRPC DEADLINE_EXCEEDED."""

    def __init__(self, deadline_ms: float):
        super().__init__(f"no answer within {deadline_ms:,.0f} ms")


@dataclass(eq=False)
class Job:
    """A request that waits or runs.

    Attributes:
        instances: Its instances. request_ids: One each.
        copy: Whether it is a copy of a live request, see Engine.answer.
        alone: What answers it, if it must not be answered together with others.
        asked_at: Of time.perf_counter.
        result: Its answers; cancelled when the client no longer waits for them.
    """

    instances: Sequence[Instance]
    request_ids: Sequence[str]
    copy: bool = False
    alone: Callable[[Sequence[Instance], Sequence[str]], list[Any]] | None = None
    asked_at: float = field(default_factory=time.perf_counter)
    result: "asyncio.Future[list[Any]]" = field(default_factory=lambda: asyncio.get_running_loop().create_future())


Together = Callable[[Sequence[Instance], Sequence[str], Sequence[bool]], list[Any]]
"""Answers instances, given with their request ids and whether they are copies."""


class Batcher:
    """Queue of requests in front of one model.

    Args:
        answer: Answers the instances of several requests in one call.
        threads: Number of batches that run at once.
        max_rows: Instances of a batch; a request with more is a batch of its own.
        max_pending: Requests that may wait or run before others are refused.
    """

    def __init__(self, answer: Together, threads: int, max_rows: int, max_pending: int):
        self._answer, self._max_rows, self._max_pending = answer, max_rows, max_pending
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="ask")
        self._idle, self._threads = threads, threads
        self._queue: deque[Job] = deque()
        self._pending, self._seconds_per_request = 0, 0.0
        self._when_idle: Callable[[], None] | None = None

    async def answered(self, job: Job, deadline_ms: float) -> list[Any]:
        """The answers to a request.

        Args:
            job: The request.
            deadline_ms: How long its client waits for them.

        Raises:
            Overloaded: too many requests wait.
            DeadlineExceeded: there was no answer in time.
        """
        if self._pending >= self._max_pending:
            REFUSED.labels("busy").inc()
            raise Overloaded(self._pending, self._retry_after())
        self._pending += 1
        PENDING.set(self._pending)
        self._queue.append(job)
        self._dispatch()
        try:
            async with asyncio.timeout(deadline_ms / 1_000):
                return await job.result
        except TimeoutError as error:
            # What has not started is taken out of the queue; what runs is not stopped.
            LATE.inc()
            raise DeadlineExceeded(deadline_ms) from error
        finally:
            self._pending -= 1
            PENDING.set(self._pending)

    def close(self, when_idle: Callable[[], None]) -> None:
        """Answer what waits, then end the threads and call `when_idle`."""
        self._when_idle = when_idle
        self._end_if_idle()

    def _retry_after(self) -> int:
        """Seconds after which what waits now will have been answered, at least 1."""
        return max(1, round(self._pending * self._seconds_per_request))

    def _dispatch(self) -> None:
        """Give idle threads what waits."""
        while self._idle and (batch := self._next()):
            self._idle -= 1
            loop = asyncio.get_running_loop()
            loop.run_in_executor(self._pool, self._run, batch).add_done_callback(
                lambda done, batch=batch: self._ended(batch, done.result())
            )

    def _next(self) -> list[Job]:
        """The requests that waited longest and go together; those without a client any more are dropped."""
        batch: list[Job] = []
        rows = 0
        while self._queue:
            job = self._queue[0]
            if not job.result.done():
                if batch and (job.alone or rows + len(job.instances) > self._max_rows):
                    break
                batch.append(job)
                rows += len(job.instances)
            self._queue.popleft()
            if batch and job.alone:
                break
        return batch

    def _run(self, batch: Sequence[Job]) -> list[list[Any] | Exception]:
        """Answers, or the error, of each request; called in a thread."""
        started = time.perf_counter()
        for job in batch:
            STAGE.labels("wait").observe(started - job.asked_at)
        BATCH_ROWS.observe(sum(len(job.instances) for job in batch))
        found = self._tried(batch)
        each = (time.perf_counter() - started) / len(batch) / self._threads
        self._seconds_per_request += 0.1 * (each - self._seconds_per_request)
        return found

    def _tried(self, batch: Sequence[Job]) -> list[list[Any] | Exception]:
        try:
            return self._answers(batch)
        # Whatever one request raises, such as a bug, must not fail the others of its batch.
        except Exception as error:
            return [error] if len(batch) == 1 else [found for job in batch for found in self._tried([job])]

    def _answers(self, batch: Sequence[Job]) -> list[list[Any] | Exception]:
        first = batch[0]
        if first.alone:
            return [first.alone(first.instances, first.request_ids)]
        instances = [instance for job in batch for instance in job.instances]
        names = [name for job in batch for name in job.request_ids]
        found = iter(self._answer(instances, names, [job.copy for job in batch for _ in job.instances]))
        return [[next(found) for _ in job.instances] for job in batch]

    def _ended(self, batch: Sequence[Job], found: Sequence[list[Any] | Exception]) -> None:
        self._idle += 1
        for job, answers in zip(batch, found, strict=True):
            if job.result.done():
                continue
            if isinstance(answers, Exception):
                job.result.set_exception(answers)
            else:
                job.result.set_result(answers)
        self._dispatch()
        self._end_if_idle()

    def _end_if_idle(self) -> None:
        if self._when_idle and not self._queue and self._idle == self._threads:
            self._pool.shutdown(wait=False)
            self._when_idle, when_idle = None, self._when_idle
            when_idle()
