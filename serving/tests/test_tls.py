"""TLS and mTLS of both ports with real certificates, and certificates that are replaced while the server runs."""

import contextlib
import shutil
import socket
import ssl
import subprocess
import sys
from pathlib import Path

import grpc
import httpx
import pytest
from kserve.protocol.grpc import grpc_predict_v2_pb2 as pb
from kserve.protocol.grpc.grpc_predict_v2_pb2_grpc import GRPCInferenceServiceStub

from components.shared.tests.waiting import eventually
from serving.__main__ import main
from serving.tests.access_files import Authority
from tests.ports import free_port

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def authority(tmp_path_factory):
    return Authority(tmp_path_factory.mktemp("authority"), "authority")


@pytest.fixture(scope="module")
def pair(authority, tmp_path_factory):
    """Certificate and key in files that a test may replace."""
    folder = tmp_path_factory.mktemp("server")
    return tuple(Path(shutil.copy(path, folder)) for path in authority.issue("server"))


@contextlib.contextmanager
def _serving(signed, log, *further):
    ports = free_port(), free_port()
    command = [sys.executable, "-m", "serving", "--model_dir", signed[0], "--public_key", signed[1],
               "--http_port", str(ports[0]), "--grpc_port", str(ports[1]), *map(str, further)]  # fmt: skip
    with log.open("wb") as stream:
        process = subprocess.Popen(command, stdout=stream, stderr=subprocess.STDOUT, cwd=ROOT)
    try:
        yield process, ports
    finally:
        process.terminate()
        try:
            process.wait(60)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _context(authority, pair=None):
    context = ssl.create_default_context(cafile=str(authority.certificate))
    if pair:
        context.load_cert_chain(*pair)
    return context


def _ready(port, context):
    def asked():
        try:
            return httpx.get(f"https://127.0.0.1:{port}/v2/health/ready", verify=context, trust_env=False, timeout=10)
        except httpx.TransportError:
            return None

    answer = eventually(asked)
    assert answer is not None and answer.status_code == 200
    return answer


@pytest.fixture(scope="module")
def tls(signed, pair, authority, tmp_path_factory):
    log = tmp_path_factory.mktemp("tls") / "log"
    with _serving(signed, log, "--tls_cert", pair[0], "--tls_key", pair[1]) as (_, ports):
        _ready(ports[0], _context(authority))
        yield ports


@pytest.fixture(scope="module")
def mutual(signed, pair, authority, tmp_path_factory):
    log = tmp_path_factory.mktemp("mutual") / "log"
    options = ("--tls_cert", pair[0], "--tls_key", pair[1], "--tls_client_ca", authority.certificate)
    with _serving(signed, log, *options) as (_, ports):
        _ready(ports[0], _context(authority, authority.issue("probe")))
        yield ports


def _grpc_ready(port, authority, pair=None):
    credentials = grpc.ssl_channel_credentials(
        authority.certificate.read_bytes(), *((pair[1].read_bytes(), pair[0].read_bytes()) if pair else ())
    )
    with grpc.secure_channel(f"127.0.0.1:{port}", credentials) as channel:
        return GRPCInferenceServiceStub(channel).ModelReady(pb.ModelReadyRequest(name="shoprank"), timeout=60).ready


def test_both_ports_speak_tls_alone(tls, authority):
    answer = _ready(tls[0], _context(authority))
    assert answer.headers["strict-transport-security"].startswith("max-age=")
    assert _grpc_ready(tls[1], authority)
    with pytest.raises(httpx.TransportError):
        httpx.get(f"http://127.0.0.1:{tls[0]}/", trust_env=False, timeout=10)
    with grpc.insecure_channel(f"127.0.0.1:{tls[1]}") as channel, pytest.raises(grpc.RpcError):
        GRPCInferenceServiceStub(channel).ServerLive(pb.ServerLiveRequest(), timeout=5)
    old = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    old.check_hostname, old.verify_mode = False, ssl.CERT_NONE
    with pytest.warns(DeprecationWarning):
        old.maximum_version = ssl.TLSVersion.TLSv1_1
    with socket.create_connection(("127.0.0.1", tls[0]), 10) as plain, pytest.raises((ssl.SSLError, OSError)):
        old.wrap_socket(plain)


def test_a_replaced_certificate_is_taken_without_a_restart(tls, pair, authority):
    for old, new in zip(pair, authority.issue("renewed"), strict=True):
        shutil.copy(new, old)

    def names():
        with socket.create_connection(("127.0.0.1", tls[0]), 10) as plain:
            with _context(authority).wrap_socket(plain, server_hostname="127.0.0.1") as secured:
                return [value for part in secured.getpeercert()["subject"] for _, value in part]

    assert eventually(lambda: names() == ["renewed"])
    assert _grpc_ready(tls[1], authority)


def test_clients_without_a_certificate_of_the_authority_are_refused(mutual, authority, tmp_path):
    own = authority.issue("client")
    assert _ready(mutual[0], _context(authority, own)).status_code == 200
    assert _grpc_ready(mutual[1], authority, own)
    stranger = Authority(tmp_path, "stranger").issue("client")
    for pair in (None, stranger):
        with pytest.raises(httpx.TransportError):
            httpx.get(f"https://127.0.0.1:{mutual[0]}/", verify=_context(authority, pair), trust_env=False, timeout=10)
        with pytest.raises(grpc.RpcError):
            _grpc_ready(mutual[1], authority, pair)


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--tls_cert", "CERT"], "one of --tls_cert and --tls_key is missing"),
        (["--tls_client_ca", "CA"], "--tls_client_ca without --tls_cert"),
        (["--tls_cert", "CERT", "--tls_key", "OTHER"], "are no certificate with its key"),
        (["--tls_cert", "CERT", "--tls_key", "/none"], "--tls_key /none cannot be read"),
        (["--tls_cert", "CERT", "--tls_key", "KEY", "--tls_client_ca", "KEY"], "has no certificate"),
        (["--cors_origin", "*"], "--cors_origin is '*'"),
        (["--access", "/none"], "--access /none cannot be read"),
        (["--max_connections", "0"], "--max_connections is 0"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)  # fmt: skip
def test_options_that_do_not_fit_are_refused(signed, authority, pair, capsys, flags, message):
    other = authority.issue("other")
    files = {"CERT": pair[0], "KEY": pair[1], "CA": authority.certificate, "OTHER": other[1]}
    given = [str(files.get(flag, flag)) for flag in flags]
    ports = ["--http_port", str(free_port()), "--grpc_port", str(free_port())]
    assert main([*ports, "--model_dir", str(signed[0]), *given]) == 2
    error = capsys.readouterr().err
    assert message in error and "fix:" in error
