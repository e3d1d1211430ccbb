"""Hostile inputs for the real server: `python -m serving.tests.fuzzing --cases 20000` (`make fuzz-server`).

Schemathesis makes REST requests of the OpenAPI document, Hypothesis V2 binary bodies and gRPC messages. None may get a
5xx or INTERNAL, end the process, or wait for more than SECONDS.
"""

import argparse
import collections
import copy
import sys
import tempfile
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import grpc
import httpx
import schemathesis
from hypothesis import HealthCheck, Phase, given, seed, settings

from components.validate_serving.predictor import Predictor, PredictorConfig, running
from serving.tests.garbage_requests import GRPC_METHODS, METADATA, binary_bodies, infer_messages
from serving.tests.handmade import write_bundle
from tests.benchmarks.tables import provenance, write_table

SECONDS = 30.0
"""An answer that takes longer is a hang."""
RESULTS = Path(__file__).parents[2] / "tests" / "benchmarks" / "robustness" / "results"
SHARES = {"REST, by the OpenAPI document": 0.5, "V2 binary bodies": 0.25, "gRPC": 0.25}
_SERVER_ERRORS = {grpc.StatusCode.INTERNAL, grpc.StatusCode.UNKNOWN, grpc.StatusCode.DATA_LOSS}


@dataclass
class Outcomes:
    """What became of the inputs of one kind."""

    kind: str
    answers: collections.Counter = field(default_factory=collections.Counter)
    errors: list[str] = field(default_factory=list)
    hangs: list[str] = field(default_factory=list)
    slowest_s: float = 0.0
    seconds: float = 0.0

    def note(self, answer: str, failed: bool, took: float, what: object) -> None:
        self.answers[answer] += 1
        self.slowest_s = max(self.slowest_s, took)
        if failed:
            self.errors.append(f"{answer}: {what!r}"[:2_000])

    @property
    def inputs(self) -> int:
        """Number of inputs that were sent."""
        sent = sum(count for answer, count in self.answers.items() if not answer.startswith("not sent"))
        return sent + len(self.hangs)


def many(strategies: dict, cases: int, number: int, send: Callable[..., None]) -> None:
    """Send this many inputs, none of which is drawn twice on purpose or shrunk."""

    @settings(max_examples=cases, database=None, deadline=None, phases=[Phase.generate],
              suppress_health_check=list(HealthCheck))  # fmt: skip
    @seed(number)
    @given(**strategies)
    def each(**drawn):
        send(**drawn)

    each()


def rest(predictor: Predictor, cases: int, number: int) -> Outcomes:
    """Requests of every operation of the document, half of them against its rules."""
    found = Outcomes("REST, by the OpenAPI document")
    with httpx.Client(base_url=predictor.url, trust_env=False, timeout=SECONDS) as http:
        document = _with_model(http.get("/openapi.json").raise_for_status().json())
        kinds = [schemathesis.GenerationMode.POSITIVE, schemathesis.GenerationMode.NEGATIVE]
        schema = schemathesis.openapi.from_dict(document)
        operations = [one.ok() for one in schema.get_all_operations()]
        # A GET without parameters is one input, and not many.
        weights = {one.label: 10.0 if one.body else 1.0 if one.method.lower() == "post" else 0.2
                   for one in operations}  # fmt: skip
        for one in operations:
            for mode in kinds:
                share = max(1, round(cases * weights[one.label] / sum(weights.values()) / len(kinds)))
                if mode == schemathesis.GenerationMode.NEGATIVE and not (one.body or one.path_parameters):
                    mode = schemathesis.GenerationMode.POSITIVE
                many(
                    {"case": one.as_strategy(generation_mode=mode)},
                    share,
                    number,
                    lambda case: _send(http, case, found),
                )
    return found


def _with_model(document: dict) -> dict:
    """The document with the served model's name, which else hardly any input would have."""
    changed = copy.deepcopy(document)
    for operations in changed["paths"].values():
        for operation in operations.values():
            for parameter in operation.get("parameters", ()):
                if parameter["name"] == "model_name":
                    parameter["schema"] = {"type": "string", "enum": ["shoprank"]}
    return changed


def _send(http: httpx.Client, case: schemathesis.Case, found: Outcomes) -> None:
    sent = case.as_transport_kwargs(base_url=str(http.base_url))
    request = {
        name: sent[name] for name in ("params", "headers", "cookies", "json", "data", "content") if sent.get(name)
    }
    if isinstance(request.get("data"), (bytes, str)):
        request["content"] = request.pop("data")
    request["headers"] = {name: value for name, value in dict(request.get("headers", {})).items() if value is not None}
    _asked(found, case.method, sent["url"], http, request)


def _asked(found: Outcomes, method: str, url: str, http: httpx.Client, request: dict) -> None:
    started = time.perf_counter()
    what = (method, url, {name: value for name, value in request.items() if name != "cookies"})
    cookies = request.pop("cookies", None)
    if cookies:
        request["headers"] = {**request.get("headers", {}),
                              "cookie": "; ".join(f"{name}={value}" for name, value in cookies.items())}  # fmt: skip
    try:
        answer = http.request(method, url, **request)
    except httpx.TimeoutException:
        found.hangs.append(repr(what)[:2_000])
        return
    except (httpx.LocalProtocolError, UnicodeEncodeError, ValueError, TypeError) as error:
        # httpx itself does not send it.
        found.note(f"not sent ({type(error).__name__})", False, 0.0, what)
        return
    except httpx.TransportError as error:
        found.note(f"closed ({type(error).__name__})", True, time.perf_counter() - started, what)
        return
    found.note(str(answer.status_code), answer.status_code >= 500, time.perf_counter() - started, what)


def binary(predictor: Predictor, cases: int, number: int) -> Outcomes:
    """Bodies of V2 with binary tensors."""
    found = Outcomes("V2 binary bodies")
    with httpx.Client(base_url=predictor.url, trust_env=False, timeout=SECONDS) as http:
        many({"drawn": binary_bodies()}, cases, number, lambda drawn: _asked(
            found, "POST", f"/v2/models/{predictor.name}/infer", http, {"content": drawn[0], "headers": drawn[1]}
        ))  # fmt: skip
    return found


def over_grpc(predictor: Predictor, cases: int, number: int) -> Outcomes:
    """Messages of every gRPC call, damaged ones too."""
    found = Outcomes("gRPC")
    with grpc.insecure_channel(f"127.0.0.1:{predictor.grpc_port}") as channel:

        def send(method, content, metadata):
            given_ = [(name, value.encode() if name.endswith("-bin") else value) for name, value in metadata]
            call, started = channel.unary_unary(f"/inference.GRPCInferenceService/{method}"), time.perf_counter()
            try:
                call(content, metadata=given_, timeout=SECONDS)
                code = grpc.StatusCode.OK
            except grpc.RpcError as error:
                code = error.code()
            if code == grpc.StatusCode.DEADLINE_EXCEEDED:
                found.hangs.append(repr((method, content))[:2_000])
                return
            failed = code in _SERVER_ERRORS or code == grpc.StatusCode.UNAVAILABLE
            found.note(code.name, failed, time.perf_counter() - started, (method, content, given_))

        many({"method": GRPC_METHODS, "content": infer_messages(), "metadata": METADATA}, cases, number, send)
    return found


def fuzz(predictor: Predictor, cases: int, number: int) -> list[Outcomes]:
    """Inputs of every kind; stops when the process ends."""
    found = []
    for (kind, share), send in zip(SHARES.items(), (rest, binary, over_grpc), strict=True):
        started = time.perf_counter()
        one = send(predictor, round(cases * share), number)
        one.seconds = time.perf_counter() - started
        assert one.kind == kind
        if predictor.process.poll() is not None:
            one.errors.append(f"the process ended with {predictor.process.returncode}")
        found.append(one)
    return found


def table(found: list[Outcomes], predictor: Predictor, before_mb: float, command: str) -> str:
    """The results as Markdown."""
    lines = [
        "# Hostile inputs", "",
        "Each input is sent to the real server, one after another. A 5xx, INTERNAL, UNKNOWN, UNAVAILABLE or a closed "
        f"connection is an error, more than {SECONDS:.0f} s a hang, the end of the process a crash.", "",
        "| inputs | number | errors | hangs | slowest answer | answers |", "|---|---|---|---|---|---|",
    ]  # fmt: skip
    for one in found:
        answers = ", ".join(f"{answer}: {count:,}" for answer, count in sorted(one.answers.items()))
        failed = f"{len(one.errors)} | {len(one.hangs)} | {one.slowest_s:.2f} s"
        lines.append(f"| {one.kind} | {one.inputs:,} | {failed} | {answers} |")
    total, errors = sum(one.inputs for one in found), sum(len(one.errors) for one in found)
    crashes = 0 if predictor.process.poll() is None else 1
    lines += [
        f"| all | {total:,} | {errors} | {sum(len(one.hangs) for one in found)} | | |", "",
        f"Crashes: {crashes}. Peak memory of the server {before_mb:.0f} MB before, "
        f"{predictor.peak_memory_mb():.0f} MB after. {sum(one.seconds for one in found):.0f} s.", "",
        provenance(command),
    ]  # fmt: skip
    return "\n".join(lines)


def main() -> int:
    """Run the inputs, write the table, and return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cases", type=int, default=20_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=RESULTS)
    arguments = parser.parse_args()
    warnings.simplefilter("ignore")
    with tempfile.TemporaryDirectory(prefix="fuzz-server-") as folder:
        bundle = write_bundle(Path(folder) / "bundle", Path(folder) / "key.pem")
        with running(bundle, PredictorConfig(public_key=Path(folder) / "key.pem.pub")) as predictor:
            before = predictor.peak_memory_mb()
            found = fuzz(predictor, arguments.cases, arguments.seed)
            text = table(found, predictor, before, f"python -m serving.tests.fuzzing --cases {arguments.cases}")
    print(text)
    for one in found:
        for wrong in [*one.errors[:20], *(f"hang: {hang}" for hang in one.hangs[:20])]:
            print(f"{one.kind}: {wrong}")
    write_table(arguments.out, "fuzzing", text)
    return 1 if any(one.errors or one.hangs for one in found) else 0


if __name__ == "__main__":
    sys.exit(main())
