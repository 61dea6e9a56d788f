"""Errors outside of this package, provoked for real: each condition, whether a retry helps, a part of the message."""

from __future__ import annotations

import json
import os
import socket
import ssl
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from threading import Thread
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

from airflow_provider_healthimaging.aws.error_table import HEALTHIMAGING, S3, SERVICE_RULES
from airflow_provider_healthimaging.local import LocalServer

S3_URI = {"s3_uri": "s3://image-sets/arrivals/"}
TO_S3 = "/image-sets"
STS = "/"


@dataclass(frozen=True, eq=False)
class Condition:
    """A condition under which a task fails.

    :param arrange: creates the condition.
    :param retry: whether the task may be retried. If not, it fails at once.
    :param says: a part of the message.
    :param arguments: arguments of the task.
    """

    group: str
    name: str
    arrange: Callable[[World], None]
    retry: bool
    says: str
    arguments: dict[str, Any] = field(default_factory=dict)


class World:
    """An Airflow connection, and the local servers that it connects to."""

    def __init__(self, monkeypatch: Any, folder: Any, url: str) -> None:
        self.monkeypatch = monkeypatch
        self.folder = folder
        self.url = url
        self.servers = ExitStack()
        self.connect()

    def connect(self, *, login: str | None = "testing", config: dict[str, Any] | None = None, **extra: Any) -> None:
        """Set Airflow's connection, with one attempt per call."""
        config = {"retries": {"total_max_attempts": 1}, **(config or {})}
        given = {"endpoint_url": self.url, "region_name": "us-east-1", "config_kwargs": config, **extra}
        connection = {"conn_type": "aws", "extra": {name: value for name, value in given.items() if value is not None}}
        if login:
            connection |= {"login": login, "password": "testing"}
        self.monkeypatch.setenv("AIRFLOW_CONN_AWS_DEFAULT", json.dumps(connection))

    def without_credentials(self) -> None:
        """Remove the worker's own credentials."""
        for name in [name for name in os.environ if name.startswith("AWS_") and "METADATA" not in name]:
            self.monkeypatch.delenv(name)
        for name in ("AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE"):
            self.monkeypatch.setenv(name, str(self.folder / name))

    def serve(self, middleware: Any) -> str:
        """Start a local service behind ``middleware``, and connect to it."""
        self.url = self.servers.enter_context(LocalServer(middleware=middleware)).url
        self.connect()
        return self.url

    def listen(self, talk: Callable[[socket.socket], None]) -> int:
        """Start a server that calls ``talk`` for each connection, and return its port."""
        listener = self.servers.enter_context(socket.create_server(("127.0.0.1", 0)))

        def accept() -> None:
            while True:
                try:
                    connection, _ = listener.accept()
                except OSError:
                    return
                Thread(target=talk, args=(connection,), daemon=True).start()

        Thread(target=accept, daemon=True).start()
        self.servers.callback(listener.shutdown, socket.SHUT_RDWR)
        return listener.getsockname()[1]


def answering(status: int, code: str, path: str = "/searchImageSets") -> Callable[[World], None]:
    """Let one service answer with an error: HealthImaging in JSON, S3 and STS in XML."""

    def middleware(app: Any) -> Any:
        def answer(environ: Any, start_response: Any) -> Any:
            asked = environ["PATH_INFO"]
            if not (asked == path if path == STS else asked.endswith(path) or asked.startswith(f"{path}/")):
                return app(environ, start_response)
            if path == "/searchImageSets":
                start_response(f"{status} Error", [("x-amzn-ErrorType", code), ("Content-Type", "application/json")])
                return [b"{}"]
            error = f"<Error><Code>{code}</Code><Message>no</Message></Error>"
            start_response(f"{status} Error", [("Content-Type", "application/xml")])
            return [(f"<ErrorResponse>{error}</ErrorResponse>" if path == STS else error).encode()]

        return answer

    return lambda world: world.serve(middleware) and None


def body(
    content: bytes, status: str = "200 OK", length: int | None = None, path: str = "/searchImageSets"
) -> Callable[[World], None]:
    """Let a service answer with this body."""

    def middleware(app: Any) -> Any:
        def answer(environ: Any, start_response: Any) -> Any:
            if path not in environ["PATH_INFO"]:
                return app(environ, start_response)
            start_response(status, [("Content-Type", "text/html"), ("Content-Length", str(length or len(content)))])
            return [content]

        return answer

    return lambda world: world.serve(middleware) and None


def connection(**extra: Any) -> Callable[[World], None]:
    """Set Airflow's connection."""
    return lambda world: world.connect(**extra)


def closed_port(world: World) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    world.connect(endpoint_url=f"http://127.0.0.1:{port}")


def closes(world: World) -> None:
    world.connect(endpoint_url=f"http://127.0.0.1:{world.listen(lambda each: each.recv(1) and each.close())}")


def never_answers(world: World) -> None:
    kept: list[socket.socket] = []
    world.connect(endpoint_url=f"http://127.0.0.1:{world.listen(kept.append)}", config={"read_timeout": 0.5})


def never_accepts(world: World) -> None:
    listener = world.servers.enter_context(socket.create_server(("127.0.0.1", 0), backlog=0))
    waiting = world.servers.enter_context(socket.create_connection(listener.getsockname()))
    assert waiting
    for _ in range(2):
        more = world.servers.enter_context(socket.socket())
        more.setblocking(False)
        more.connect_ex(listener.getsockname())
    url = f"http://127.0.0.1:{listener.getsockname()[1]}"
    world.connect(endpoint_url=url, config={"connect_timeout": 0.5})


def self_signed(world: World) -> None:
    key, name = ec.generate_private_key(ec.SECP256R1()), x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "nobody")])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .sign(key, SHA256())
    )
    file = world.folder / "server.pem"
    private = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    file.write_bytes(private + certificate.public_bytes(Encoding.PEM))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(file)

    def talk(each: socket.socket) -> None:
        try:
            context.wrap_socket(each, server_side=True).recv(1)
        except OSError:
            each.close()

    world.connect(endpoint_url=f"https://127.0.0.1:{world.listen(talk)}")


def tls_that_breaks(world: World) -> None:
    world.connect(endpoint_url=f"https://127.0.0.1:{world.listen(lambda each: each.recv(1) and each.close())}")


def no_tls(world: World) -> None:
    world.connect(endpoint_url=world.url.replace("http:", "https:"))


def no_proxy(world: World) -> None:
    world.connect(config={"proxies": {"http": "http://127.0.0.1:1"}})


def nobody(world: World) -> None:
    world.without_credentials()
    world.connect(login=None)


def half_a_key(world: World) -> None:
    nobody(world)
    world.monkeypatch.setenv("AWS_ACCESS_KEY_ID", "testing")


def configured(text: str) -> Callable[[World], None]:
    """Let the worker read its credentials from a configuration file."""

    def arrange(world: World) -> None:
        nobody(world)
        (world.folder / "AWS_CONFIG_FILE").write_text(f"[default]\nregion = us-east-1\n{text}\n")

    return arrange


def no_token_file(world: World) -> None:
    nobody(world)
    world.monkeypatch.setenv("AWS_WEB_IDENTITY_TOKEN_FILE", str(world.folder / "none"))
    world.monkeypatch.setenv("AWS_ROLE_ARN", "arn:aws:iam::123456789012:role/reader")


def role(status: int, code: str) -> Callable[[World], None]:
    """Let STS answer with an error when the connection's role is assumed."""

    def arrange(world: World) -> None:
        answering(status, code, STS)(world)
        arn = "arn:aws:iam::123456789012:role/reader"
        world.connect(role_arn=arn, service_config={"sts": {"endpoint_url": world.url}})

    return arrange


def no_region(world: World) -> None:
    world.without_credentials()
    world.connect(region_name=None)


STATUSES = {"ThrottlingException": 429, "ConflictException": 409, "InternalServerException": 500}
CODES = [
    *("AccessDeniedException", "UnrecognizedClientException", "InvalidSignatureException", "InvalidClientTokenId"),
    *("IncompleteSignature", "MissingAuthenticationTokenException", "OptInRequired", "UnknownOperationException"),
    *("ExpiredTokenException", "RequestExpired", "ResourceNotFoundException", "ValidationException"),
    *("ServiceQuotaExceededException", "ThrottlingException", "ConflictException", "InternalServerException"),
    *("ServiceUnavailable", "InternalFailure", "RequestTimeoutException"),
]
S3_CODES = {
    **dict.fromkeys(("AccessDenied", "InvalidAccessKeyId", "SignatureDoesNotMatch", "RequestTimeTooSkewed"), 403),
    **dict.fromkeys(("InvalidToken", "ExpiredToken", "KMS.DisabledException", "KMS.NotFoundException"), 400),
    "NoSuchBucket": 404,
    "AuthorizationHeaderMalformed": 400,
    "SlowDown": 503,
    "InternalError": 500,
}


def rule_for(service: str, code: str) -> Any:
    return next(rule for rule in SERVICE_RULES if code in rule.codes.split() and rule.service in {service, ""})


def expected(service: str, code: str) -> tuple[bool, str]:
    rule = rule_for(service, code)
    return rule.error.retryable, f"{service} answered {code} "


NETWORK = "network"
CREDENTIALS = "credentials"
CONDITIONS = (
    *(
        Condition("service, by code", code, answering(STATUSES.get(code, 400), code), *expected(HEALTHIMAGING, code))
        for code in CODES
    ),
    *(
        Condition("service, by status", str(status), body(b"no", f"{status} No"), retry, f"HTTP {status}")
        for status, retry in {
            **dict.fromkeys((400, 401, 403, 404, 407, 413, 422), False),
            **dict.fromkeys((408, 409, 425, 429, 500, 502, 503, 504), True),
        }.items()
    ),
    *(
        Condition("S3", code, answering(status, code, TO_S3), *expected(S3, code), arguments=S3_URI)
        for code, status in S3_CODES.items()
    ),
    Condition("S3", "a login page", body(b"<html>log in", path=TO_S3), True, "s3://image-sets/arrivals/", S3_URI),
    Condition(
        NETWORK, "no such host", connection(endpoint_url="http://nowhere.invalid"), True, "EndpointConnectionError"
    ),
    Condition(NETWORK, "closed port", closed_port, True, "EndpointConnectionError"),
    Condition(NETWORK, "no connection in time", never_accepts, True, "ConnectTimeoutError"),
    Condition(NETWORK, "no answer in time", never_answers, True, "ReadTimeoutError"),
    Condition(NETWORK, "connection closed", closes, True, "ConnectionClosedError"),
    Condition(NETWORK, "body cut short", body(b'{"imageSetsMeta', length=900), True, ""),
    Condition(NETWORK, "a login page", body(b"<html>log in</html>"), True, "is truncated, or is not JSON"),
    Condition(NETWORK, "certificate not trusted", self_signed, False, "CA bundle"),
    Condition(NETWORK, "handshake broken off", tls_that_breaks, True, "No complete response from HealthImaging"),
    Condition(NETWORK, "no TLS there", no_tls, False, "does not support TLS"),
    Condition(NETWORK, "proxy not reached", no_proxy, True, "HTTPS_PROXY"),
    Condition(CREDENTIALS, "none", nobody, False, "No usable AWS credentials"),
    Condition(CREDENTIALS, "half of a key", half_a_key, False, "No usable AWS credentials"),
    Condition(CREDENTIALS, "no such profile", configured("source_profile = a"), False, "No usable AWS credentials"),
    Condition(
        CREDENTIALS,
        "process fails",
        configured("credential_process = false"),
        True,
        "source of credentials did not return any",
    ),
    Condition(
        CREDENTIALS,
        "SSO session expired",
        configured(
            "sso_account_id = 1\nsso_role_name = r\nsso_region = us-east-1\nsso_start_url = http://nowhere.invalid"
        ),
        False,
        "aws sso login",
    ),
    Condition(CREDENTIALS, "no token file", no_token_file, False, "does not exist"),
    Condition(CREDENTIALS, "role refused", role(403, "AccessDenied"), False, "STS answered AccessDenied"),
    Condition(CREDENTIALS, "role's token is over", role(400, "ExpiredTokenException"), True, "STS answered Expired"),
    Condition(CREDENTIALS, "STS has a fault", role(500, "InternalFailure"), True, "STS answered InternalFailure"),
    Condition("region", "none", no_region, False, "No AWS region is configured"),
    Condition(
        "region",
        "malformed",
        connection(region_name="eu west 1"),
        False,
        "No AWS region is configured, or its name is invalid",
    ),
    Condition("endpoint", "no scheme", connection(endpoint_url="127.0.0.1:5000"), False, "Write a URL"),
    *(
        Condition("arguments", next(iter(given)), lambda world: None, False, says, given)
        for given, says in (
            ({"datastore_id": "short"}, "malformed"),
            ({"search_criteria": '{"filters": []}'}, "filters"),
            ({"search_criteria": "{not JSON"}, "search_criteria"),
            ({"match": '{"DICOMNonsense": ["x"]}'}, "Unknown field in match"),
            ({"dicom_tags": "Nonsense"}, "dicom_tags must be a list of tag names or 'all', not a str"),
            ({"pagination_config": '{"PageSize": 51}'}, "PageSize"),
            ({"pagination_config": '{"StartingToken": "no token"}'}, "StartingToken"),
            ({"window_start": "2026-03-01T00:00:00"}, "no time zone"),
            ({"s3_uri": "http://image-sets/"}, "names no bucket"),
        )
    ),
)
