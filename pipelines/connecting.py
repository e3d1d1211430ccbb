"""Connect to a Kubeflow Pipelines server with kfp.Client: address, identity, certificates."""

import contextlib
import io
import logging
import os
import ssl
import threading
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, TypeVar

import httpx

from components.shared.errors import InputError
from pipelines.refusals import ACCESS, ADDRESS, KfpError, lost, one_line, rejected, status_text, unreachable

IN_CLUSTER_API = "http://ml-pipeline.kubeflow.svc.cluster.local:8888"
IN_CLUSTER_UI = "http://ml-pipeline-ui.kubeflow.svc.cluster.local"
"""Services of KFP's own manifests."""
TOKEN_FILE = Path("/var/run/secrets/kubeflow/pipelines/token")
"""Where a pod's projected token for KFP is, unless KF_PIPELINES_SA_TOKEN_PATH says otherwise."""
POD_NAMESPACE = Path("/var/run/secrets/kubernetes.io/serviceaccount/namespace")
DEADLINE_S = 8.0
"""Seconds for a server's first answer."""
T = TypeVar("T")


@dataclass(frozen=True, kw_only=True)
class Connection:
    """How to reach a KFP server; the parameters of kfp.Client."""

    host: str = ""
    """Address of KFP's UI or API; empty inside a cluster: the service of KFP's own manifests."""
    namespace: str = ""
    """Namespace of the runs; empty for a single-user server."""
    token: str = field(default="", repr=False)
    """Bearer token; wins over the file."""
    token_file: Path | None = None
    """File with a bearer token, read again for each request; inside a cluster the pod's own by default."""
    cookies: str = field(default="", repr=False)
    """Cookie header."""
    ca: Path | None = None
    """PEM file of the authorities that may sign the server's certificate."""
    verify: bool = True
    """Whether to check the server's certificate."""
    ui: str = ""
    """Address of the UI for links; empty: the host."""

    def identity(self) -> dict[str, str]:
        """Headers that identify the caller, as kfp.Client sends them."""
        token = self.token or (self.token_file.read_text(encoding="utf-8").strip() if self.token_file else "")
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        return {**headers, "Cookie": self.cookies} if self.cookies else headers

    def trust(self) -> ssl.SSLContext | bool:
        """What httpx takes as `verify`."""
        return ssl.create_default_context(cafile=str(self.ca)) if self.ca and self.verify else self.verify


@dataclass(frozen=True)
class Server:
    """A KFP server that has answered."""

    client: Any
    """The kfp.Client."""
    connection: Connection
    """With the host, the UI and the namespace that are used."""

    @property
    def namespace(self) -> str | None:
        """Namespace of requests; None on a single-user server."""
        return self.connection.namespace or None

    def page(self, path: str) -> str:
        """Address of a page of the UI."""
        return f"{self.connection.ui}/#/{path}"

    def ask(self, request: Callable[..., T], *arguments: Any, **named: Any) -> T:
        """Call a method of the client, without its prints, warnings and log lines.

        Raises:
            KfpError: the server is unreachable or rejects the request.
        """
        import kfp_server_api
        import urllib3

        try:
            with quiet():
                return request(*arguments, **named)
        except kfp_server_api.ApiException as error:
            raise rejected(self.connection.host, int(error.status or 0), error.reason, error.body) from error
        except urllib3.exceptions.HTTPError as error:
            raise lost(self.connection.host, error) from error
        except (OSError, ValueError, RuntimeError) as error:
            raise KfpError(f"--host {self.connection.host}: {one_line(str(error))}", ADDRESS) from error


def connect(connection: Connection) -> Server:
    """Check that a KFP server answers, and return it.

    Raises:
        InputError: an option is contradictory or missing.
        KfpError: no KFP server answers in ten seconds, or it refuses the identity.
    """
    connection = _checked(connection)
    multi_user = _multi_user(connection)
    try:
        client = _client(connection)
    except (OSError, ValueError, RuntimeError) as error:
        raise KfpError(f"--host {connection.host}: {one_line(str(error))}", ADDRESS) from error
    namespace = connection.namespace or client.get_user_namespace()
    if multi_user and not namespace and POD_NAMESPACE.is_file():
        namespace = POD_NAMESPACE.read_text(encoding="utf-8").strip()
    if multi_user and not namespace:
        raise InputError(
            f"--namespace is missing: {connection.host} is a multi-user server", "give your profile's namespace"
        )
    return Server(client, replace(connection, namespace=namespace))


def _client(connection: Connection) -> Any:
    with quiet():
        import kfp
        import kfp_server_api
        from kfp.client import ServiceAccountTokenVolumeCredentials as FileCredentials

        class Client(kfp.Client):
            """kfp.Client asks for the server's health up to five times in 25 s and logs a traceback each time.

            It wants to know whether to look for the pod's namespace, and to keep it in the home folder. `connect`
            has asked, and looks itself.
            """

            def get_kfp_healthz(self, sleep_duration: int = 5) -> kfp_server_api.V2beta1GetHealthzResponse:
                return kfp_server_api.V2beta1GetHealthzResponse(multi_user=False)

        return Client(
            host=connection.host, namespace=connection.namespace or "kubeflow", ui_host=connection.ui,
            existing_token=connection.token or None, cookies=connection.cookies or None,
            credentials=FileCredentials(str(connection.token_file)) if connection.token_file else None,
            ssl_ca_cert=str(connection.ca) if connection.ca else None, verify_ssl=connection.verify,
        )  # fmt: skip


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Without the prints, warnings and log lines of kfp and urllib3."""
    level = logging.root.manager.disable
    with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
        warnings.simplefilter("ignore")
        logging.disable(logging.CRITICAL)
        try:
            yield
        finally:
            logging.disable(level)


def _checked(given: Connection) -> Connection:
    """The connection with its defaults; refuses what cannot be meant."""
    if given.ca and not given.verify:
        raise InputError("--ca and --no-verify contradict each other", "give one of them")
    for flag, path in (("--ca", given.ca), ("--token-file", None if given.token else given.token_file)):
        if path and not path.is_file():
            raise InputError(f"{flag} {path} does not exist", "give the path of a file")
    try:
        given.trust()
    except (ssl.SSLError, OSError) as error:
        raise InputError(f"--ca {given.ca}: {one_line(str(error))}", "give a PEM file of certificates") from error
    host, ui, token_file = given.host, given.ui or given.host, given.token_file
    if not host:
        if not os.environ.get("KUBERNETES_SERVICE_HOST"):
            raise InputError("--host is missing", f"set it or KF_PIPELINES_ENDPOINT: {ADDRESS}")
        host, ui = IN_CLUSTER_API, given.ui or IN_CLUSTER_UI
        if not (given.token or token_file) and TOKEN_FILE.is_file():
            token_file = TOKEN_FILE
    return replace(given, host=_address(host), ui=_address(ui), token_file=token_file)


def _address(text: str) -> str:
    """A base address: https unless it says http, as kfp.Client has it; without the UI's fragment."""
    address = (text if "://" in text else f"https://{text}").partition("#")[0].rstrip("/")
    try:
        known = httpx.URL(address)
    except httpx.InvalidURL as error:
        raise InputError(f"--host {text}: {error}", ADDRESS) from error
    if known.scheme not in ("http", "https") or not known.host:
        raise InputError(f"--host {text} is not an address", ADDRESS)
    return address


def _multi_user(connection: Connection) -> bool:
    """Ask the server's health once, and say whether it has users.

    In a thread of its own, because neither a slow name server nor an answer in single bytes heeds httpx's timeouts.
    """
    answers: list[httpx.Response | Exception] = []

    def ask() -> None:
        try:
            # trust_env: kfp.Client takes no proxy from the environment.
            answers.append(
                httpx.get(f"{connection.host}/apis/v2beta1/healthz", headers=connection.identity(), timeout=DEADLINE_S,
                          verify=connection.trust(), trust_env=False)
            )  # fmt: skip
        except (httpx.HTTPError, OSError, ValueError) as error:
            answers.append(error)

    thread = threading.Thread(target=ask, daemon=True)
    thread.start()
    thread.join(DEADLINE_S)
    answer = answers[0] if answers else httpx.ReadTimeout("")
    if isinstance(answer, Exception):
        raise unreachable(connection.host, answer, DEADLINE_S) from answer
    return _healthy(connection.host, answer)


def _healthy(host: str, answer: httpx.Response) -> bool:
    if answer.is_redirect:
        raise KfpError(f"--host {host} asks for a login ({answer.headers['location'].partition('?')[0]})", ACCESS)
    if answer.status_code in (401, 403) or answer.status_code >= 500:
        raise rejected(host, answer.status_code, "", answer.content)
    try:
        found = answer.json() if answer.is_success else None
    except ValueError:
        found = None
    if not isinstance(found, dict):
        raise KfpError(
            f"--host {host} is not an address of Kubeflow Pipelines ({status_text(answer.status_code)} for its API)",
            ADDRESS,
        )
    return bool(found.get("multi_user"))
