"""The KServe face: wire forms in and out, its own threads, readiness after the golden requests.

The only module beside __main__ that imports kserve (which reads sys.argv when it is imported).
"""

import asyncio
import functools
import re
import socket
import struct
import time
import uuid
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import kserve
import numpy as np
from kserve.errors import InvalidInput, ServerNotReady
from kserve.protocol.dataplane import DataPlane
from kserve.protocol.infer_type import InferInput, InferOutput, InferRequest, InferResponse
from kserve.protocol.model_repository_extension import ModelRepositoryExtension

from components.shared.cgroup import usable_cpus
from components.shared.recommender.runtime import RuntimeRecord
from components.shared.release.bundle import verify
from components.shared.release.signing import load_public_key
from components.shared.telemetry.inference_log import LogWriter
from serving.clock import ClockOption
from serving.engine import Engine
from serving.exploring import ExplorationConfig
from serving.metrics import MODEL, PENDING, REFUSED, STAGE
from serving.protocol import (
    V2_INPUTS,
    V2_OUTPUTS,
    Answer,
    Ask,
    RequestError,
    answer_columns,
    decode_json,
    parse_v1,
    parse_v2,
)
from serving.shadow import HEADER, ShadowConfig
from serving.watching import Watch

_REQUEST_ID = re.compile(r"[\w.:-]{1,128}")
_CHARSET = re.compile(r"charset=\"?([\w-]+)", re.IGNORECASE)


def default_threads() -> int:
    """Requests answered at once: one for each usable CPU; beyond 8 they would wait for Python's lock."""
    return min(8, usable_cpus())


@dataclass(frozen=True, kw_only=True)
class ModelConfig:
    """How one bundle is served."""

    folder: Path
    """The bundle."""
    public_key: Path | None = None
    """Who must have signed it; without one only its files are checked."""
    clock: ClockOption = "auto"
    """What 'now' is when a request does not say."""
    threads: int = field(default_factory=default_threads)
    """Requests answered at once."""
    model_threads: int = 1
    """Threads of one call of a graph."""
    max_pending: int = 256
    """Requests that may wait or run before new ones are refused with 503."""
    inference_log: Path | None = None
    """Folder of the inference log; None writes none."""
    exploration: ExplorationConfig | None = None
    """How some recommendations explore; None: none does."""
    shadow: ShadowConfig | None = None
    """Where copies of live requests go; None copies nothing."""


class RefusedRequest(InvalidInput):
    """A bad request: HTTP 400, gRPC INVALID_ARGUMENT; `field` names the part."""

    def __init__(self, headline: str, fix: str, field: str = ""):
        super().__init__(f"{headline}; {fix}")
        self.headline, self.fix, self.field = headline, fix, field


class Busy(ServerNotReady):
    """Too many requests wait: HTTP 503, gRPC UNAVAILABLE."""

    def __init__(self, pending: int):
        super().__init__(f"{pending} requests wait; try again, or add replicas.")
        self.reason = self.error_msg  # kserve's gRPC handler reads this name


@dataclass(frozen=True)
class Question:
    """A parsed request and the form its answer must have."""

    asks: list[Ask]
    request_id: str
    v2: InferRequest | None
    copy: bool = False
    """Whether it is a shadow's copy of a request that another version answers."""

    @property
    def request_ids(self) -> list[str]:
        """One for each of `asks`: the request's own, numbered where it has several."""
        if len(self.asks) == 1:
            return [self.request_id]
        return [f"{self.request_id}-{position}" for position in range(len(self.asks))]


class ShoprankModel(kserve.Model):
    """Serves one bundle under one name.

    kserve hands what `preprocess` returns to `predict` and `explain`; its annotations know only its own forms,
    hence the three ignored overrides.
    """

    def __init__(self, name: str, config: ModelConfig):
        super().__init__(name)
        self._config = config
        self._pool = ThreadPoolExecutor(config.threads, thread_name_prefix="ask")
        self._engine: Engine | None = None
        self._watch = Watch("", None, None)
        self._pending = 0

    def load(self) -> bool:
        """Verify the bundle, open it and ask its golden requests; only then is the model ready.

        Raises:
            BundleError: names the file, the signature or the golden request that is wrong.
            InputError: the public key cannot be read.
        """
        config = self._config
        key = load_public_key(config.public_key) if config.public_key else None
        manifest = verify(config.folder, key)
        self._engine = Engine.open(config.folder, manifest, config.model_threads, config.clock, config.exploration)
        log = LogWriter(config.inference_log, socket.gethostname()) if config.inference_log else None
        self._watch = Watch(manifest.version, log, config.shadow)
        MODEL.labels(manifest.name, manifest.version, RuntimeRecord.read(config.folder).name).set(1)
        self.ready = True
        return True

    def start(self) -> None:
        """Kserve calls this before it serves and would call any model ready; ours is when `load` said so."""

    def stop(self) -> None:
        """Refuse new requests and let the threads end."""
        self.ready = False
        self._pool.shutdown(wait=False)
        self._watch.close()

    async def preprocess(  # pyright: ignore[reportIncompatibleMethodOverride]
        self, payload: Any, headers: dict[str, str] | None = None
    ) -> Question:
        """Parse any of the wire forms."""
        request_id, copy = _request_id(payload, headers or {}), HEADER in (headers or {})
        try:
            with STAGE.labels("parse").time():
                if isinstance(payload, InferRequest):
                    return Question(parse_v2(_columns(payload)), request_id, payload, copy)
                if isinstance(payload, bytes):
                    # kserve decodes no body whose content type carries a charset.
                    charset = _CHARSET.search((headers or {}).get("content-type", ""))
                    payload = decode_json(payload, charset[1] if charset else "utf-8")
                return Question(parse_v1(payload), request_id, None, copy)
        except RequestError as error:
            REFUSED.labels("field" if error.field else "body").inc()
            raise RefusedRequest(error.headline, error.fix, error.field) from error

    async def predict(  # pyright: ignore[reportIncompatibleMethodOverride]
        self, payload: Question, headers: dict[str, str] | None = None
    ) -> dict[str, Any] | InferResponse:
        """Answer every question of the request, in a thread of our own so that health probes never wait."""
        started = time.perf_counter()
        with self._watch.counting_failures(payload.request_id, payload.copy, Busy):
            answers = await self._in_thread(payload, functools.partial(self._loaded().answer, copy=payload.copy))
        self._watch.answered(payload.asks, answers, time.perf_counter() - started, payload.copy)
        if payload.v2 is None:
            return {"predictions": [answer.model_dump() for answer in answers]}
        return _v2_response(payload.v2, self.name, self._loaded().version, payload.request_id, answers)

    async def explain(  # pyright: ignore[reportIncompatibleMethodOverride]
        self, payload: Question, headers: dict[str, str] | None = None
    ) -> dict[str, Any]:
        """Answer with the detailed account of every item."""
        if headers is not None:
            # kserve 0.21 sends the request's headers back as those of the answer, credentials included.
            headers.clear()
        return {"explanations": await self._in_thread(payload, self._loaded().explain)}

    def get_input_types(self) -> list[dict[str, Any]]:
        """V2 metadata of the inputs, all optional."""
        return [{"name": name, "datatype": datatype, "shape": [-1]} for name, datatype in V2_INPUTS.items()]

    def get_output_types(self) -> list[dict[str, Any]]:
        """V2 metadata of the outputs."""
        per_item = list(V2_OUTPUTS).index("count")
        return [{"name": name, "datatype": datatype, "shape": [-1, -1] if position < per_item else [-1]}
                for position, (name, datatype) in enumerate(V2_OUTPUTS.items())]  # fmt: skip

    def _loaded(self) -> Engine:
        if self._engine is None:
            raise ServerNotReady("The bundle is not loaded.")
        return self._engine

    async def _in_thread(self, question: Question, answer: Callable[[list[Ask], list[str]], list[Any]]) -> list[Any]:
        if self._pending >= self._config.max_pending:
            REFUSED.labels("busy").inc()
            raise Busy(self._pending)
        asked_at = time.perf_counter()

        def work() -> list[Any]:
            STAGE.labels("wait").observe(time.perf_counter() - asked_at)
            return answer(question.asks, question.request_ids)

        self._pending += 1
        PENDING.set(self._pending)
        try:
            return await asyncio.get_running_loop().run_in_executor(self._pool, work)
        finally:
            self._pending -= 1
            PENDING.set(self._pending)


class StrictDataPlane(DataPlane):
    """kserve's data plane, with malformed V2 bodies refused as 400 where it would answer 500."""

    def decode_inference_request(self, body: Any, headers: dict[str, str], model_name: str) -> InferRequest:
        """See DataPlane."""
        try:
            return super().decode_inference_request(body, headers, model_name)
        except InvalidInput:
            raise
        except (KeyError, ValueError, TypeError, AttributeError, struct.error) as error:
            raise RefusedRequest(f"the V2 body cannot be read: {error}", "see the Open Inference Protocol") from error


class FixedRepository(ModelRepositoryExtension):
    """One bundle a process: the V2 repository calls, open to anyone who reaches the port, change nothing."""

    async def load(self, model_name: str) -> None:
        """Refused."""
        raise RefusedRequest("models are not loaded while serving", "start a new predictor on the new bundle")

    async def unload(self, model_name: str) -> None:
        """Refused."""
        raise RefusedRequest("models are not unloaded while serving", "stop the predictor instead")


def _request_id(payload: Any, headers: dict[str, str]) -> str:
    wished = (payload.id if isinstance(payload, InferRequest) else None) or headers.get("x-request-id", "")
    return wished if _REQUEST_ID.fullmatch(wished) else uuid.uuid4().hex


def _columns(request: InferRequest) -> dict[str, list[Any]]:
    """Plain values of every input tensor."""
    columns: dict[str, list[Any]] = {}
    for tensor in request.inputs:
        if tensor.name in columns:
            raise RequestError(f"input '{tensor.name}' is given twice", "send each input once", tensor.name)
        columns[tensor.name] = _values(tensor)
    return columns


def _values(tensor: InferInput) -> list[Any]:
    wanted = V2_INPUTS.get(tensor.name, tensor.datatype)
    numeric = ("INT8", "INT16", "INT32", "INT64", "UINT8", "UINT16", "UINT32", "UINT64")
    if tensor.datatype not in ((wanted,) if wanted == "BYTES" else numeric):
        raise RequestError(f"input '{tensor.name}' is {tensor.datatype}", f"send it as {wanted}", tensor.name)
    raw = tensor.data if isinstance(tensor.data, list) and tensor.data else None
    try:
        # JSON numbers are checked as they are; numpy would turn 2.5 into 2 without a word.
        values = np.array(raw, object).ravel() if raw is not None else tensor.as_numpy().ravel()
    except (ValueError, TypeError, struct.error, OverflowError) as error:
        raise RequestError(f"input '{tensor.name}' cannot be read: {error}", "let shape and data agree",
                           tensor.name) from error  # fmt: skip
    if values.size != int(np.prod(tensor.shape)) or len(tensor.shape) > 2:
        raise RequestError(f"input '{tensor.name}' has {values.size} values for shape {list(tensor.shape)}",
                           "let shape ([n] or [n, 1]) and data agree", tensor.name)  # fmt: skip
    return values.tolist()


def _v2_response(
    request: InferRequest, name: str, version: str, request_id: str, answers: list[Answer]
) -> InferResponse:
    width, columns = answer_columns(answers)
    dtypes = {"BYTES": np.object_, "FP32": np.float32, "INT32": np.int32}
    outputs = []
    for output, datatype in V2_OUTPUTS.items():
        values = columns[output]
        per_item = len(values) == len(answers) * width and output in ("item_id", "title", "price", "score", "reasons")
        shape = [len(answers), width] if per_item else [len(answers)]
        array = np.array(values, dtypes[datatype]).reshape(shape)
        outputs.append(InferOutput(output, shape, datatype, data=array))
    return InferResponse(
        request_id, name, outputs, model_version=version,
        use_binary_outputs=request.use_binary_outputs, requested_outputs=request.request_outputs,
    )  # fmt: skip
