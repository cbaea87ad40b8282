"""What the storage raises becomes a category of [7.4], in words that are safe to log."""

from __future__ import annotations

import http.server
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from deltalake import DeltaTable
from deltalake.exceptions import CommitFailedError, DeltaError, SchemaMismatchError

from kafka_pipeline.common.azure.credential import Credential, CredentialForm, CurrentCredential
from kafka_pipeline.common.failures import Category, PipelineError
from kafka_pipeline.common.lake.delta import DeltaStore
from kafka_pipeline.common.lake.faults import is_conflict, storage_failure
from kafka_pipeline.common.lake.location import LakeLocation
from kafka_pipeline.common.lake.objects import ObjectStore, check_writable
from kafka_pipeline.common.lake.tables import TableSpec

SECRET = "sig=CANARY"


class _Forgetful(http.server.BaseHTTPRequestHandler):
    """A storage that takes everything, and whose listings from a name on are empty: OneLake in the spring of 2026."""

    protocol_version = "HTTP/1.1"

    def do_PUT(self) -> None:
        """Take it."""
        self.rfile.read(int(self.headers.get("content-length") or 0))
        self._answer(201, b"")

    def do_POST(self) -> None:
        """Forget it, as a batch of one."""
        self.rfile.read(int(self.headers.get("content-length") or 0))
        part = "Content-Type: application/http\r\nContent-ID: 0\r\n\r\nHTTP/1.1 202 Accepted\r\n\r\n"
        self._answer(202, f"--b\r\n{part}\r\n--b--\r\n".encode(), "multipart/mixed; boundary=b")

    def do_GET(self) -> None:
        """List nothing."""
        self._answer(200, b"<EnumerationResults><Prefix/><Blobs/><NextMarker/></EnumerationResults>")

    def _answer(self, status: int, body: bytes, kind: str = "application/xml") -> None:
        self.send_response(status)
        self.send_header("content-type", kind)
        self.send_header("content-length", str(len(body)))
        self.send_header("etag", '"x"')
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class names it so
        """Say nothing."""


class _Azure(http.server.BaseHTTPRequestHandler):
    """Answers every request with one status and a body that must not be passed on."""

    status = 500

    def do_GET(self) -> None:
        """Answer."""
        body = f"<Error><Code>SomeCode</Code><Message>{SECRET} Pat Sample</Message></Error>".encode()
        self.rfile.read(int(self.headers.get("content-length") or 0))
        self.send_response(type(self).status)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    do_PUT = do_HEAD = do_POST = do_DELETE = do_GET  # noqa: N815 - the base class looks for these names

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class names it so
        """Say nothing."""


@contextmanager
def _lake_on(handler: type[http.server.BaseHTTPRequestHandler]) -> Iterator[LakeLocation]:
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield LakeLocation.parse(
            "az://lake/root",
            options={
                "azure_storage_account_name": "devstoreaccount1",
                "azure_storage_account_key": "Zm9v",
                "azure_endpoint": f"http://127.0.0.1:{server.server_port}/devstoreaccount1",
            },
            client={"allow_http": "true"},
        )
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@pytest.fixture
def azure() -> Iterator[LakeLocation]:
    """Return a lake on a storage account that answers with `_Azure.status`."""
    with _lake_on(_Azure) as lake:
        yield lake


async def test_a_storage_that_does_not_list_from_a_name_is_told_at_the_start() -> None:
    """Tables on it would never see a new version: every commit would collide for ever."""
    with _lake_on(_Forgetful) as lake, pytest.raises(PipelineError, match=r"startFrom.*by their ids") as caught:
        await check_writable(lake)
    assert caught.value.category is Category.PERMANENT


@pytest.mark.parametrize(
    ("status", "category"),
    [
        (400, Category.PERMANENT),
        (401, Category.AUTH),
        (403, Category.AUTH),
        (404, Category.PERMANENT),
        (409, Category.TRANSIENT),
        (412, Category.TRANSIENT),
    ],
)
async def test_a_status_decides_the_category(
    azure: LakeLocation, things: TableSpec, status: int, category: Category, tmp_path: Path
) -> None:
    """Tables and files alike; neither link nor body nor key is in the text."""
    _Azure.status = status
    file = tmp_path / "f"
    file.write_bytes(b"x")
    with pytest.raises(PipelineError) as table:
        DeltaStore(azure).ensure(things)
    with pytest.raises(PipelineError) as upload:
        await ObjectStore.at(azure).put_file("a", file)
    for caught in (table, upload):
        assert caught.value.category is category
        assert f"HTTP {status}" in caught.value.text
        assert not [word for word in ("CANARY", "Pat", "Zm9v", "127.0.0.1") if word in caught.value.text]
        assert caught.value.__cause__ is None


async def test_a_refused_credential_says_what_to_check(azure: LakeLocation) -> None:
    """The check at start names the place and the remedy."""
    _Azure.status = 403
    with pytest.raises(
        PipelineError, match=r"az://lake/root cannot be written .*HTTP 403.*: check the credential"
    ) as e:
        await check_writable(azure)
    assert e.value.category is Category.AUTH


def _elsewhere(lake: LakeLocation, root: str, **options: str) -> LakeLocation:
    return LakeLocation.parse(root, options={**lake.options, **options}, client=lake.client, credential=lake.credential)


def _with_key(lake: LakeLocation, key: str) -> LakeLocation:
    wrong = Credential(form=CredentialForm.ACCOUNT_KEY, secret=key)
    return LakeLocation.parse(
        lake.root, options=lake.options, client=lake.client, credential=CurrentCredential(lambda: wrong)
    )


@pytest.mark.azurite
async def test_what_is_wrong_with_a_lake_is_one_sentence_with_a_remedy(azurite_location: LakeLocation) -> None:
    """The mistakes that everybody makes once, as a real storage answers them; no key is told."""
    lake = azurite_location
    account = str(lake.options["account_name"])
    endpoint = lake.options["endpoint"]
    for wrong, says, category in [
        (_with_key(lake, "d3Jvbmc="), "the key or SAS is wrong", Category.AUTH),
        (_elsewhere(lake, "az://nowhere/x"), "there is no such container or workspace", Category.TRANSIENT),
        (
            _elsewhere(lake, lake.root, account_name="other", endpoint=endpoint.replace(account, "other")),
            "there is no such account",
            Category.TRANSIENT,
        ),
        (_elsewhere(lake, lake.root, endpoint="http://127.0.0.1:1/x"), "nobody listens there", Category.TRANSIENT),
        (
            _elsewhere(lake, lake.root, endpoint="https://storage.invalid/x"),
            "the host name is not known",
            Category.TRANSIENT,
        ),
    ]:
        with pytest.raises(PipelineError, match=rf"the lake at .* cannot be written \(.*{says}.*\): check ") as caught:
            await check_writable(wrong)
        assert caught.value.category is category
        assert "\n" not in caught.value.text
        assert "d3Jvbmc" not in caught.value.text


@pytest.mark.parametrize(
    ("error", "category"),
    [
        (DeltaError("Server returned non-2xx status code: 503 Service Unavailable: x"), Category.TRANSIENT),
        (DeltaError("Server returned non-2xx status code: 429 Too Many Requests"), Category.TRANSIENT),
        (OSError("error sending request"), Category.TRANSIENT),
        (DeltaError("status code: 404 Not Found <Code>ContainerNotFound</Code>"), Category.TRANSIENT),
        (OSError(28, "No space left on device"), Category.TRANSIENT),
        (DeltaError("Unable to write (os error 28)"), Category.TRANSIENT),
        (DeltaError("operation timed out"), Category.TRANSIENT),
        (CommitFailedError("Failed to commit transaction: Metadata changed since last commit."), Category.TRANSIENT),
        (SchemaMismatchError("no such field"), Category.PERMANENT),
        (DeltaError("Invalid data found: 1 rows failed validation check."), Category.PERMANENT),
        (DeltaError("External error: something else"), Category.UNKNOWN),
        (ValueError("?"), Category.UNKNOWN),
    ],
)
def test_an_error_without_a_server_has_a_category(error: Exception, category: Category) -> None:
    """An outage is no fault of the rows; what nobody foresaw is unknown."""
    assert storage_failure(error, "writing").category is category


def test_only_a_lost_race_is_a_conflict() -> None:
    """A commit that failed because the store refused it is not run again at once."""
    assert is_conflict(CommitFailedError("a concurrent transactions added new data"))
    assert not is_conflict(CommitFailedError("Server returned non-2xx status code: 403 Forbidden"))
    assert not is_conflict(DeltaError("a concurrent transactions added new data"))


def test_a_table_that_is_no_table_is_reported(tmp_path: Path, things: TableSpec) -> None:
    """A broken log is reported as a failure of reading, not as an empty table."""
    location = LakeLocation.parse(tmp_path)
    store = DeltaStore(location)
    store.ensure(things)
    log = next((tmp_path / "Tables" / "things" / "_delta_log").glob("*.json"))
    log.write_text("not json")
    with pytest.raises(PipelineError, match="reading things failed"):
        store.existing(things, ["1"])
    assert not DeltaTable.is_deltatable(str(tmp_path / "elsewhere"))
