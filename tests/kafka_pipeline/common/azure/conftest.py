"""A token service on this machine: Entra ID over TLS, and the identity services of machines over plain HTTP."""

from __future__ import annotations

import base64
import http.server
import ipaddress
import json
import ssl
import threading
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

TENANT = "00000000-0000-4000-8000-00000000000a"
CLIENT = "00000000-0000-4000-8000-00000000000b"
CLIENT_SECRET = "hunter2-client-secret"
IDENTITY_HEADER = "hunter2-identity-header"


@dataclass(frozen=True, slots=True, kw_only=True)
class Certificate:
    """Files with a certificate for 127.0.0.1 that signs itself, and its key."""

    certificate: Path
    key: Path


@pytest.fixture(scope="session")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Certificate:
    """Return a certificate that nobody trusts who is not told to."""
    folder = tmp_path_factory.mktemp("tls")
    made = Certificate(certificate=folder / "certificate.pem", key=folder / "key.pem")
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "tests")])
    now = datetime.now(UTC)
    signed = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    made.certificate.write_bytes(signed.public_bytes(serialization.Encoding.PEM))
    made.key.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    return made


@dataclass(slots=True)
class TokenService:
    """What the service does, and what it was asked. Every token is another one, of the form that Azurite accepts."""

    authority: str = ""
    """Where Entra ID is."""
    machine: str = ""
    """Where the identity service of a machine is."""
    lifetime_s: int = 3_600
    failures: list[tuple[int, str]] = field(default_factory=list)
    """Answers to the next requests for a token: status and body."""
    failing: tuple[int, str] | None = None
    """The answer to all of them, once `failures` are used up."""
    assertions: list[str] = field(default_factory=list)
    """Federated tokens that it was shown."""
    secrets: list[str] = field(default_factory=list)
    """Client secrets that it was shown."""
    resources: list[str] = field(default_factory=list)
    """What tokens were asked for."""
    issued: list[str] = field(default_factory=list)

    def token(self, resource: str) -> tuple[int, dict[str, Any] | str]:
        """Issue a token, or fail as ordered."""
        if self.failures:
            return self.failures.pop(0)
        if self.failing is not None:
            return self.failing
        now = int(time.time())
        claims = {
            "aud": "https://storage.azure.com",
            "iss": f"https://sts.windows.net/{TENANT}/",
            "iat": now,
            "nbf": now - 5,
            "exp": now + self.lifetime_s,
            "jti": len(self.issued),
        }
        token = ".".join(_part(part) for part in ({"alg": "RS256", "typ": "JWT"}, claims, "signature"))
        self.resources.append(resource)
        self.issued.append(token)
        return 200, {
            "token_type": "Bearer",
            "access_token": token,
            "expires_in": self.lifetime_s,
            "expires_on": now + self.lifetime_s,
            "resource": resource,
        }


def _part(value: object) -> str:
    return base64.urlsafe_b64encode(json.dumps(value).encode()).rstrip(b"=").decode()


class _Handler(http.server.BaseHTTPRequestHandler):
    """Speaks the three protocols of the service."""

    service: TokenService

    def do_GET(self) -> None:
        """Tell where tokens are, or give one to a machine."""
        url = urlsplit(self.path)
        query = {name: values[0] for name, values in parse_qs(url.query).items()}
        if url.path == f"/{TENANT}/v2.0/.well-known/openid-configuration":
            root = f"{self.service.authority}/{TENANT}"
            endpoints = {name: f"{root}/oauth2/v2.0/{name}" for name in ("authorize", "token")}
            self._answer(
                200,
                {
                    "issuer": f"{root}/v2.0",
                    "authorization_endpoint": endpoints["authorize"],
                    "token_endpoint": endpoints["token"],
                },
            )
        elif self._is_machine(url.path):
            self._answer(*self.service.token(query["resource"]))
        else:
            self._answer(404, {"error": "not_found"})

    def do_POST(self) -> None:
        """Give a token for a client secret or a federated token."""
        body = self.rfile.read(int(self.headers.get("content-length") or 0)).decode()
        form = {name: values[0] for name, values in parse_qs(body).items()}
        if urlsplit(self.path).path != f"/{TENANT}/oauth2/v2.0/token" or form.get("client_id") != CLIENT:
            self._answer(400, {"error": "invalid_request"})
            return
        if "client_assertion" in form:
            self.service.assertions.append(form["client_assertion"])
        else:
            self.service.secrets.append(form["client_secret"])
        self._answer(*self.service.token(form["scope"]))

    def _is_machine(self, path: str) -> bool:
        """Tell whether the caller shows what an App Service, or a virtual machine, shows."""
        if path == "/msi/token":
            return self.headers.get("X-IDENTITY-HEADER") == IDENTITY_HEADER
        return path == "/metadata/identity/oauth2/token" and self.headers.get("Metadata") == "true"

    def _answer(self, status: int, body: dict[str, Any] | str) -> None:
        data = (body if isinstance(body, str) else json.dumps(body)).encode()
        self.send_response(status)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class names it so
        """Say nothing."""


@pytest.fixture
def tokens(certificate: Certificate, monkeypatch: pytest.MonkeyPatch) -> Iterator[TokenService]:
    """Give a token service; this process trusts its certificate while the test runs."""
    service = TokenService()
    handler = type("Handler", (_Handler,), {"service": service})
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate.certificate, certificate.key)
    with _serving(handler) as machine, _serving(handler, context) as entra:
        service.machine, service.authority = f"http://127.0.0.1:{machine}", f"https://127.0.0.1:{entra}"
        monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(certificate.certificate))
        yield service


def _serving(
    handler: type[http.server.BaseHTTPRequestHandler], context: ssl.SSLContext | None = None
) -> AbstractContextManager[int]:
    @contextmanager
    def serve() -> Iterator[int]:
        server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
        if context is not None:
            server.socket = context.wrap_socket(server.socket, server_side=True)
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield server.server_port
        finally:
            server.shutdown()
            thread.join()
            server.server_close()

    return serve()
