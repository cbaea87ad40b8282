"""Signing in with azure-identity itself, at a token service on this machine."""

from __future__ import annotations

import json
import logging
import socket
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from kafka_pipeline.common.azure.credential import CredentialForm
from kafka_pipeline.common.azure.sign_in import Account, SignIn, read_file
from kafka_pipeline.common.failures import Category, PipelineError

TENANT = "00000000-0000-4000-8000-00000000000a"
CLIENT = "00000000-0000-4000-8000-00000000000b"
CLIENT_SECRET = "hunter2-client-secret"
IDENTITY_HEADER = "hunter2-identity-header"
REFUSED = json.dumps(
    {
        "error": "invalid_client",
        "error_description": f"AADSTS7000215: Invalid client secret provided. {CLIENT_SECRET} Trace ID: 1",
    }
)

SignInAs = Callable[[SignIn], Account]


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Repeat nothing: the pauses between repeats are the library's own."""
    monkeypatch.setattr("kafka_pipeline.common.azure.sign_in.RETRIES", 0)


@pytest.fixture
def token_file(tmp_path: Path) -> Path:
    """Return the file that Kubernetes would write."""
    path = tmp_path / "federated-token"
    path.write_text("federated-1\n")
    return path


@pytest.fixture
def account(tokens: Any, token_file: Path, monkeypatch: pytest.MonkeyPatch) -> SignInAs:
    """Return a function that makes an account of the kind, known to the token service."""

    def make(how: SignIn) -> Account:
        if how is SignIn.MANAGED_IDENTITY:
            monkeypatch.setenv("IDENTITY_ENDPOINT", f"{tokens.machine}/msi/token")
            monkeypatch.setenv("IDENTITY_HEADER", IDENTITY_HEADER)
        return Account(
            how=how,
            read_secret=lambda: CLIENT_SECRET,
            tenant_id=TENANT,
            client_id=CLIENT,
            token_file=token_file,
            authority=tokens.authority,
        )

    return make


TOKEN_KINDS = [SignIn.SERVICE_PRINCIPAL, SignIn.WORKLOAD_IDENTITY, SignIn.MANAGED_IDENTITY]


@pytest.mark.parametrize("how", TOKEN_KINDS)
def test_a_token_is_obtained_with_its_end(tokens: Any, account: SignInAs, how: SignIn) -> None:
    """Each kind asks for access to storage, and gets a token that says when it ends."""
    credential = account(how).obtain()
    assert (credential.form, credential.secret) == (CredentialForm.TOKEN, tokens.issued[-1])
    assert credential.expires_at is not None
    assert abs(credential.expires_at - datetime.now(UTC) - timedelta(hours=1)) < timedelta(minutes=1)
    assert tokens.resources[-1].removesuffix("/.default") == "https://storage.azure.com"


@pytest.mark.parametrize("how", TOKEN_KINDS)
def test_each_request_gets_a_new_token(tokens: Any, account: SignInAs, how: SignIn) -> None:
    """No cache below ours hands out what we want to replace."""
    signing_in = account(how)
    assert signing_in.obtain().secret != signing_in.obtain().secret
    assert len(tokens.issued) == 2


def test_a_virtual_machine_is_asked_by_its_metadata_service(tokens: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where no App Service tells otherwise, and no client id is set."""
    monkeypatch.setenv("AZURE_POD_IDENTITY_AUTHORITY_HOST", tokens.machine)
    assert Account(how=SignIn.MANAGED_IDENTITY).obtain().secret == tokens.issued[-1]


def test_a_federated_token_is_read_at_each_request(tokens: Any, account: SignInAs, token_file: Path) -> None:
    """Kubernetes replaces it every hour; one that was kept locks the pod out."""
    pod = account(SignIn.WORKLOAD_IDENTITY)
    pod.obtain()
    token_file.write_text("federated-2\n")
    pod.obtain()
    assert tokens.assertions == ["federated-1", "federated-2"]


def test_a_rotated_client_secret_is_read_at_each_request(tokens: Any, tmp_path: Path) -> None:
    """A mounted secret may change while the worker runs."""
    secret = tmp_path / "secret"
    secret.write_text("first")
    application = Account(
        how=SignIn.SERVICE_PRINCIPAL,
        read_secret=lambda: read_file(secret),
        tenant_id=TENANT,
        client_id=CLIENT,
        authority=tokens.authority,
    )
    application.obtain()
    secret.write_text("second")
    application.obtain()
    assert tokens.secrets == ["first", "second"]


@pytest.mark.parametrize("how", TOKEN_KINDS)
def test_a_refusal_is_of_category_auth_and_says_what_to_check(
    tokens: Any, account: SignInAs, how: SignIn, caplog: pytest.LogCaptureFixture
) -> None:
    """The library's text, which may hold anything, stays out of ours; the code of Entra ID is in it."""
    tokens.failing = (401 if how is SignIn.SERVICE_PRINCIPAL else 400, REFUSED)
    with caplog.at_level(logging.DEBUG), pytest.raises(PipelineError, match=r"refuses to sign us in by .*: check") as e:
        account(how).obtain()
    assert e.value.category is Category.AUTH
    assert e.value.__cause__ is None
    if how is not SignIn.MANAGED_IDENTITY:
        assert "AADSTS7000215" in e.value.text
    assert CLIENT_SECRET not in e.value.text


@pytest.mark.parametrize("how", TOKEN_KINDS)
@pytest.mark.parametrize("status", [429, 500, 503])
def test_an_outage_of_the_issuer_is_transient(tokens: Any, account: SignInAs, how: SignIn, status: int) -> None:
    """Nothing is wrong with our credential."""
    tokens.failing = (status, '{"error": "temporarily_unavailable"}')
    with pytest.raises(PipelineError, match=f"HTTP {status}") as caught:
        account(how).obtain()
    assert caught.value.category is Category.TRANSIENT


def test_a_page_instead_of_a_token_is_transient(tokens: Any, account: SignInAs) -> None:
    """A proxy that answers in the place of Entra ID."""
    tokens.failing = (200, "<html>login</html>")
    with pytest.raises(PipelineError, match="nonsense") as caught:
        account(SignIn.WORKLOAD_IDENTITY).obtain()
    assert caught.value.category is Category.TRANSIENT


@pytest.mark.parametrize("how", TOKEN_KINDS)
def test_nobody_there_is_transient(
    account: SignInAs, tokens: Any, monkeypatch: pytest.MonkeyPatch, how: SignIn
) -> None:
    """A network that is cut off."""
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        port = closed.getsockname()[1]
    tokens.authority, tokens.machine = f"https://127.0.0.1:{port}", f"http://127.0.0.1:{port}"
    with pytest.raises(PipelineError, match="does not answer") as caught:
        account(how).obtain()
    assert caught.value.category is Category.TRANSIENT


def test_a_token_file_that_is_gone_is_told_by_its_name(account: SignInAs, token_file: Path) -> None:
    """The remedy is at the mount, not at Entra ID."""
    token_file.unlink()
    with pytest.raises(PipelineError, match=r"federated-token cannot be read \(No such file") as caught:
        account(SignIn.WORKLOAD_IDENTITY).obtain()
    assert caught.value.category is Category.AUTH


@pytest.mark.parametrize("content", [b"", b" \n", b"two\nlines", b"\xff\xfe"])
def test_a_file_without_one_secret_is_refused(tmp_path: Path, content: bytes) -> None:
    """What is in it is not told."""
    path = tmp_path / "secret"
    path.write_bytes(content)
    with pytest.raises(PipelineError, match=r"secret (does not hold one line|holds no text)"):
        read_file(path)


def test_a_key_is_what_was_read() -> None:
    """It has no end."""
    credential = Account(how=SignIn.KEY, read_secret=lambda: "Zm9v").obtain()
    assert (credential.form, credential.secret, credential.expires_at) == (CredentialForm.ACCOUNT_KEY, "Zm9v", None)


@pytest.mark.parametrize("end", ["2026-03-02T14:00:00Z", "2026-03-02T14:00Z", "2026-03-02"])
def test_a_sas_says_when_it_ends(end: str) -> None:
    """In any form that Azure accepts, with or without the question mark of portals."""
    for text in (f"sv=2022-11-02&se={end.replace(':', '%3A')}&sig=c2ln", f"?sv=2022-11-02&se={end}&sig=c2ln"):
        credential = Account(how=SignIn.SAS, read_secret=lambda text=text: text).obtain()  # type: ignore[misc]
        assert credential.form is CredentialForm.SAS
        assert credential.secret == text.removeprefix("?")
        hour = 0 if end == "2026-03-02" else 14
        assert credential.expires_at == datetime(2026, 3, 2, hour, tzinfo=UTC)


@pytest.mark.parametrize("text", ["Zm9vYmFy", "se=2026&sv=1", "sig=a&se=tomorrow"])
def test_what_is_no_sas_is_told_without_it(text: str) -> None:
    """A key in its place, for example."""
    with pytest.raises(PipelineError, match="the SAS is none") as caught:
        Account(how=SignIn.SAS, read_secret=lambda: text).obtain()
    assert caught.value.category is Category.AUTH
    assert text not in caught.value.text


def test_an_account_does_not_show_its_secret() -> None:
    """Nor who reads it."""
    assert "secret" not in repr(Account(how=SignIn.KEY, read_secret=lambda: "hunter2-secret"))
