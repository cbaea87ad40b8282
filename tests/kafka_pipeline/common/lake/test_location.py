"""An address of a lake leads tables and files to the same host, container and path."""

from __future__ import annotations

import http.server
import ssl
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from kafka_pipeline.common.azure.credential import Credential, CredentialForm, CurrentCredential
from kafka_pipeline.common.failures import PipelineError
from kafka_pipeline.common.lake.delta import DeltaStore
from kafka_pipeline.common.lake.location import RETRIES, LakeLocation
from kafka_pipeline.common.lake.objects import ObjectStore
from kafka_pipeline.common.lake.tables import TableSpec


@dataclass(slots=True)
class Wire:
    """A proxy that plays every host: what was asked for, and with what."""

    url: str = ""
    asked: list[str] = field(default_factory=list)
    """`METHOD https://host/path`, without the query."""
    authorizations: set[str | None] = field(default_factory=set)


@pytest.fixture(scope="session")
def any_host(tmp_path_factory: pytest.TempPathFactory) -> ssl.SSLContext:
    """Return TLS with a certificate of its own making; the clients of these tests do not look at it."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "any host")])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder(name, name, key.public_key(), 1, now - timedelta(days=1), now + timedelta(days=1))
        .sign(key, hashes.SHA256())
        .public_bytes(serialization.Encoding.PEM)
    )
    file = tmp_path_factory.mktemp("any-host") / "both.pem"
    file.write_bytes(
        certificate
        + key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(file)
    return context


@pytest.fixture
def wire(any_host: ssl.SSLContext) -> Iterator[Wire]:
    """Give a proxy on loopback that ends TLS itself, whichever host is meant, and knows nothing that is asked for."""
    wire = Wire()

    class Proxy(http.server.BaseHTTPRequestHandler):
        host = ""

        def do_CONNECT(self) -> None:
            self.send_response(200)
            self.end_headers()
            self.host = self.path.removesuffix(":443")
            self.connection = any_host.wrap_socket(self.connection, server_side=True)
            with self.connection, self.connection.makefile("rb") as self.rfile:
                self.handle_one_request()
            self.close_connection = True

        def do_GET(self) -> None:
            wire.asked.append(f"{self.command} https://{self.host}{self.path.partition('?')[0]}")
            wire.authorizations.add(self.headers.get("authorization"))
            head = "HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"
            self.connection.sendall(head.encode())

        do_HEAD = do_PUT = do_GET  # noqa: N815 - the base class looks for these names

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class names it so
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Proxy)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    wire.url = f"http://127.0.0.1:{server.server_port}"
    try:
        yield wire
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


ADDRESSES = [
    (
        "abfss://claims@onelake.dfs.fabric.microsoft.com/claimx.Lakehouse",
        {},
        "https://onelake.blob.fabric.microsoft.com/claims/claimx.Lakehouse",
    ),
    (
        "abfss://6f0c1a5e-0000-4000-8000-000000000001@onelake.dfs.fabric.microsoft.com/6f0c1a5e-0000-4000-8000-000000000002",
        {},
        "https://onelake.blob.fabric.microsoft.com/6f0c1a5e-0000-4000-8000-000000000001/6f0c1a5e-0000-4000-8000-000000000002",
    ),
    ("abfss://lake@account.dfs.core.windows.net/claims", {}, "https://account.blob.core.windows.net/lake/claims"),
    ("az://lake/claims", {"account_name": "account"}, "https://account.blob.core.windows.net/lake/claims"),
    (
        "az://lake/claims",
        {"account_name": "account", "endpoint": "https://account.privatelink.example.com"},
        "https://account.privatelink.example.com/lake/claims",
    ),
]


@pytest.mark.parametrize(("address", "options", "reached"), ADDRESSES)
async def test_tables_and_files_go_where_the_address_says(
    wire: Wire, things: TableSpec, address: str, options: dict[str, str], reached: str
) -> None:
    """To the blob endpoint of OneLake or the account, below one path, with one token."""
    token = Credential(form=CredentialForm.TOKEN, secret="token-of-this-test")
    lake = LakeLocation.parse(
        address,
        options=options,
        client={"proxy_url": wire.url, "allow_invalid_certificates": "true"},
        credential=CurrentCredential(lambda: token),
    )
    assert await ObjectStore.at(lake).head("claimx/1/2/a.jpg") is None
    with pytest.raises(PipelineError):
        DeltaStore(lake).ensure(things)
    assert wire.asked[0] == f"HEAD {reached}/Files/claimx/1/2/a.jpg"
    container = "/".join(reached.split("/")[:4])
    assert f"GET {reached}/Tables/things/_delta_log/_last_checkpoint" in wire.asked
    assert {place for place in wire.asked if not place.partition(" ")[2].startswith(f"{reached}/")} <= {
        f"GET {container}"
    }
    assert wire.authorizations == {"Bearer token-of-this-test"}


@pytest.mark.parametrize(
    ("form", "option"),
    [
        (CredentialForm.ACCOUNT_KEY, "account_key"),
        (CredentialForm.SAS, "sas_key"),
        (CredentialForm.TOKEN, "bearer_token"),
    ],
)
def test_tables_are_opened_with_the_credential_of_this_moment(form: CredentialForm, option: str) -> None:
    """Asked for anew each time, under the name that the library knows; with retries that end."""
    given_out: list[str] = []

    def obtain() -> Credential:
        given_out.append(f"secret-{len(given_out)}")
        return Credential(form=form, secret=given_out[-1])

    lake = LakeLocation.parse("az://lake/x", options={"account_name": "a"}, credential=CurrentCredential(obtain))
    expected: dict[str, Any] = {"account_name": "a", option: "secret-0", "max_retries": str(RETRIES)}
    assert lake.delta_options().items() >= expected.items()
    assert "secret-0" not in repr(lake)


@pytest.mark.parametrize(
    ("address", "onelake"),
    [
        ("abfss://ws@onelake.dfs.fabric.microsoft.com/lh.Lakehouse", True),
        ("abfss://ws@onelake.fabric.microsoft.com.example.com/x", False),
        ("az://lake/x", False),
        ("data/lake", False),
    ],
)
def test_onelake_is_told_by_its_host(address: str, *, onelake: bool) -> None:
    """And by nothing that merely holds its name."""
    assert LakeLocation.parse(address).is_onelake is onelake
