"""The KServe model: parses requests, answers them in its own threads, is ready after the golden requests passed.

Only this module and __main__ import kserve, which reads sys.argv on import.
"""

import re
import socket
import struct
import time
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import kserve
import numpy as np
import orjson
from kserve.errors import InferenceError, InvalidInput, ServerNotReady
from kserve.protocol.dataplane import DataPlane
from kserve.protocol.infer_type import InferInput, InferOutput, InferRequest, InferResponse
from kserve.protocol.model_repository_extension import ModelRepositoryExtension

from components.shared.recommender.runtime import RuntimeRecord
from components.shared.release.bundle import verify
from components.shared.release.signing import load_public_key
from components.shared.telemetry.inference_log import LogWriter
from serving.answers import V2_OUTPUTS, Answer, answer_columns
from serving.batching import Batcher, DeadlineExceeded, Job, Overloaded
from serving.config import ModelConfig
from serving.deadlines import DEADLINE_HEADER, parse_deadline
from serving.engine import Engine
from serving.envelope import check_envelope
from serving.metrics import MODEL, REFUSED, STAGE
from serving.protocol import (
    V2_INPUTS,
    Instance,
    RequestError,
    decode_json,
    parse_v1,
    parse_v2,
)
from serving.rules import RulesFile
from serving.shadow import HEADER
from serving.watching import RequestObserver

_REQUEST_ID = re.compile(r"[\w.:-]{1,128}")
_CHARSET = re.compile(r"charset=\"?([\w-]+)", re.IGNORECASE)


class RefusedRequest(InvalidInput):
    """An invalid request: HTTP 400, gRPC INVALID_ARGUMENT; `field` is the name of the invalid field."""

    def __init__(self, headline: str, fix: str, field: str = ""):
        super().__init__(f"{headline}; {fix}")
        self.headline, self.fix, self.field = headline, fix, field


@dataclass(frozen=True)
class ParsedRequest:
    """A parsed request and the format of its answer."""

    instances: list[Instance]
    request_id: str
    v2: InferRequest | None
    copy: bool
    """Whether it is a copy of a live request, sent to this model as a shadow."""
    deadline_ms: float
    """How long its client waits."""
    as_bytes: bool
    """Whether the answer is written as JSON here; kserve writes that of a CloudEvent, which wraps it."""

    @property
    def request_ids(self) -> list[str]:
        """One id per instance: the request id, numbered if there are several instances."""
        if len(self.instances) == 1:
            return [self.request_id]
        return [f"{self.request_id}-{position}" for position in range(len(self.instances))]


class ShoprankModel(kserve.Model):
    """Serves one bundle under one name.

    kserve passes the result of `preprocess` to `predict` and `explain`; its annotations allow only its own types,
    hence the three ignored overrides.
    """

    def __init__(self, name: str, config: ModelConfig):
        super().__init__(name, return_response_headers=True)
        self._config = config
        self._batcher = Batcher(self._answered, config.threads, config.max_batch, config.max_pending)
        self._engine: Engine | None = None
        self._watch = RequestObserver("", None, None)
        self._rules: RulesFile | None = None

    def load(self) -> bool:
        """Verify and open the bundle and check its golden requests; then the model is ready.

        Raises:
            BundleError: a file, the signature or a golden request does not match.
            InputError: the public key cannot be read, or there is no file of rules.
        """
        config = self._config
        key = load_public_key(config.public_key) if config.public_key else None
        manifest = verify(config.folder, key)
        self._engine = Engine.open(
            config.folder, manifest, config.model_threads, config.clock, config.exploration,
            config.cache_mb * 1_000_000, config.state,
        )  # fmt: skip
        if config.rules:
            self._rules = self._engine.follow_rules(config.rules, config.folder)
        log = LogWriter(config.inference_log, socket.gethostname()) if config.inference_log else None
        self._watch = RequestObserver(manifest.version, log, config.shadow)
        MODEL.labels(manifest.name, manifest.version, RuntimeRecord.read(config.folder).name).set(1)
        self.ready = True
        return True

    def start(self) -> None:
        """Called by kserve before serving; readiness is set by `load` instead."""

    def stop(self) -> None:
        """Reject new requests, answer those that wait, then write what is left of the log."""
        self.ready = False
        self._batcher.close(self._watch.close)
        if self._rules:
            self._rules.close()

    async def preprocess(  # pyright: ignore[reportIncompatibleMethodOverride]
        self, payload: Any, headers: dict[str, str] | None = None
    ) -> ParsedRequest:
        """Parse a V1 or V2 request."""
        headers = headers or {}
        request_id = _request_id(payload, headers)
        try:
            with STAGE.labels("parse").time():
                if isinstance(payload, InferRequest):
                    instances, v2 = self._checked(parse_v2(_columns(payload)), "rows"), payload
                else:
                    if isinstance(payload, bytes):
                        # kserve does not decode bodies whose content type has a charset.
                        charset = _CHARSET.search(headers.get("content-type", ""))
                        payload = decode_json(payload, charset[1] if charset else "utf-8")
                    instances, v2 = self._checked(parse_v1(payload), "instances"), None
                deadline_ms = parse_deadline(headers.get(DEADLINE_HEADER, ""), self._config.deadline_ms)
                return ParsedRequest(
                    instances, request_id, v2, HEADER in headers, deadline_ms, not _is_cloud_event(headers)
                )
        except RequestError as error:
            REFUSED.labels("field" if error.field else "body").inc()
            raise RefusedRequest(error.headline, error.fix, error.field) from error

    async def predict(  # pyright: ignore[reportIncompatibleMethodOverride]
        self, payload: ParsedRequest, headers: dict[str, str] | None = None,
        response_headers: dict[str, str] | None = None,
    ) -> dict[str, Any] | bytes | InferResponse:  # fmt: skip
        """Answer every instance of the request, in a thread of its own so that health probes are never blocked."""
        started = time.perf_counter()
        with self._watch.counting_failures(payload.request_id, payload.copy, (Overloaded, DeadlineExceeded)):
            job = Job(payload.instances, payload.request_ids, payload.copy)
            answers = await self._batcher.answered(job, payload.deadline_ms)
        self._watch.answered(payload.instances, answers, time.perf_counter() - started, payload.copy)
        if payload.v2 is not None:
            return _v2_response(payload.v2, self.name, self.loaded().version, payload.request_id, answers)
        predictions = {"predictions": [answer.as_json() for answer in answers]}
        if not payload.as_bytes or response_headers is None:
            return predictions
        response_headers["content-type"] = "application/json"
        return orjson.dumps(predictions)

    async def explain(  # pyright: ignore[reportIncompatibleMethodOverride]
        self, payload: ParsedRequest, headers: dict[str, str] | None = None
    ) -> dict[str, Any]:
        """Answer with the detailed explanation of every item."""
        if headers is not None:
            # kserve 0.21 would return the request's headers, credentials included, in the response.
            headers.clear()
        job = Job(payload.instances, payload.request_ids, alone=self.loaded().explain)
        return {"explanations": await self._batcher.answered(job, payload.deadline_ms)}

    def get_input_types(self) -> list[dict[str, Any]]:
        """V2 metadata of the inputs, all optional."""
        return [{"name": name, "datatype": datatype, "shape": [-1]} for name, datatype in V2_INPUTS.items()]

    def get_output_types(self) -> list[dict[str, Any]]:
        """V2 metadata of the outputs."""
        per_item = list(V2_OUTPUTS).index("count")
        return [{"name": name, "datatype": datatype, "shape": [-1, -1] if position < per_item else [-1]}
                for position, (name, datatype) in enumerate(V2_OUTPUTS.items())]  # fmt: skip

    @property
    def served_version(self) -> str:
        """Version of the served bundle; it ends with the first digits of its digest."""
        return self.loaded().version

    def _checked(self, instances: list[Instance], of: str) -> list[Instance]:
        for position, instance in enumerate(instances):
            self.loaded().check(instance, f"{of}[{position}]." if of == "instances" or len(instances) > 1 else "")
        return instances

    def loaded(self) -> Engine:
        """The served bundle."""
        if self._engine is None:
            raise ServerNotReady("The bundle is not loaded.")
        return self._engine

    def _answered(
        self, instances: Sequence[Instance], request_ids: Sequence[str], copies: Sequence[bool]
    ) -> list[Answer]:  # fmt: skip
        return self.loaded().answer(instances, request_ids, copies)


class StrictDataPlane(DataPlane):
    """kserve's data plane, but malformed V2 bodies give 400 instead of 500, and V2 metadata names the served bundle."""

    async def model_metadata(self, model_name: str) -> dict[str, Any]:
        """V2 metadata; `versions` is the version of the bundle, which a rollout compares with the one it asked for."""
        model = self.get_model_from_registry(model_name)
        versions = [model.served_version] if isinstance(model, ShoprankModel) else []
        return {**await super().model_metadata(model_name), "versions": versions}

    def decode_inference_request(self, body: Any, headers: dict[str, str], model_name: str) -> InferRequest:
        """See DataPlane."""
        try:
            request = super().decode_inference_request(body, headers, model_name)
            check_envelope(request)
            return request
        except InvalidInput:
            raise
        except (InferenceError, KeyError, ValueError, TypeError, AttributeError, struct.error) as error:
            raise RefusedRequest(f"the V2 body is malformed: {error}", "see the Open Inference Protocol") from error


class FixedRepository(ModelRepositoryExtension):
    """Repository of one fixed model: the V2 load and unload calls, which need no authentication, are rejected."""

    async def load(self, model_name: str) -> None:
        """Not supported."""
        raise RefusedRequest("models cannot be loaded while serving", "start a new predictor with the other bundle")

    async def unload(self, model_name: str) -> None:
        """Not supported."""
        raise RefusedRequest("models cannot be unloaded while serving", "stop the predictor instead")


def _request_id(payload: Any, headers: dict[str, str]) -> str:
    wished = (payload.id if isinstance(payload, InferRequest) else None) or headers.get("x-request-id", "")
    return wished if _REQUEST_ID.fullmatch(wished) else uuid.uuid4().hex


def _is_cloud_event(headers: Mapping[str, str]) -> bool:
    return "ce-type" in headers or "cloudevents" in headers.get("content-type", "")


def _columns(request: InferRequest) -> dict[str, list[Any]]:
    """Values of every input tensor as Python lists."""
    columns: dict[str, list[Any]] = {}
    for tensor in request.inputs:
        if tensor.name in columns:
            raise RequestError(f"input '{tensor.name}' is given twice", "send each input once", tensor.name)
        columns[tensor.name] = _values(tensor)
    return columns


def _values(tensor: InferInput) -> list[Any]:
    wanted = V2_INPUTS.get(tensor.name, tensor.datatype)
    numeric = ("INT8", "INT16", "INT32", "INT64", "UINT8", "UINT16", "UINT32", "UINT64")
    if tensor.datatype not in {"INT64": numeric, "FP32": ("FP32", "FP64")}.get(wanted, (wanted,)):
        raise RequestError(f"input '{tensor.name}' is {tensor.datatype}", f"send it as {wanted}", tensor.name)
    raw = tensor.data if isinstance(tensor.data, list) and tensor.data else None
    try:
        # JSON numbers are validated unconverted; numpy would silently turn 2.5 into 2.
        values = np.array(raw, object).ravel() if raw is not None else tensor.as_numpy().ravel()
    except (ValueError, TypeError, struct.error, OverflowError) as error:
        raise RequestError(f"input '{tensor.name}' cannot be read: {error}", "send data that matches the shape",
                           tensor.name) from error  # fmt: skip
    if values.size != int(np.prod(tensor.shape)) or len(tensor.shape) > 2:
        raise RequestError(f"input '{tensor.name}' has {values.size} values for shape {list(tensor.shape)}",
                           "send data that matches the shape ([n] or [n, 1])", tensor.name)  # fmt: skip
    return values.tolist()


def _v2_response(
    request: InferRequest, name: str, version: str, request_id: str, answers: list[Answer]
) -> InferResponse:
    width, columns = answer_columns(answers)
    dtypes = {"BYTES": np.object_, "FP32": np.float32, "INT32": np.int32, "BOOL": np.bool_}
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
