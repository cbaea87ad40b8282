"""What a failure of the storage below means: the table of [7.4] applied to what deltalake and obstore raise.

Both report HTTP failures as text only, and the text may hold links, request bodies and cell values. So nothing of it is
passed on but what this module picks out: the class, the HTTP status, the service's error code, the system's errno.
"""

from __future__ import annotations

import os
import re

from deltalake.exceptions import CommitFailedError, SchemaMismatchError
from obstore.exceptions import (
    AlreadyExistsError,
    InvalidPathError,
    NotSupportedError,
    PermissionDeniedError,
    PreconditionError,
    UnauthenticatedError,
    UnknownConfigurationKeyError,
)

from kafka_pipeline.common.failures import Category, PipelineError

CONFLICT = "conflict"
"""The reason of a PipelineError when other writers of the table won every round."""

_STATUS = re.compile(r"status(?: code)?\W{0,12}(?:\x1b\[\d+m)?\W{0,12}([1-5]\d\d)\b")
_CODE = re.compile(r"<Code>(\w{1,60})</Code>")
_OS_ERROR = re.compile(r"os error (\d{1,3})\)")
_NETWORK = ("error sending request", "connection", "timed out", "timeout", "dns error", "error decoding response body")
_CAUSES = (
    ("dns error", "the host name is not known"),
    ("certificate", "the certificate is not trusted"),
    ("connection refused", "nobody listens there"),
    ("unreachable", "the network does not lead there"),
    ("timed out", "no answer in time"),
    ("timeout", "no answer in time"),
    ("tunnel", "the proxy refuses"),
    ("error sending request", "the connection failed"),
)
"""What a failed connection says of itself, and what it means; the first that fits."""

_SERVICE_CODES = {
    "ContainerNotFound": "there is no such container or workspace",
    "ContainerBeingDeleted": "the container is being deleted",
    "ResourceNotFound": "there is no such account, or it is another one's endpoint",
    "AuthorizationFailure": "the key or SAS is wrong, or the network is not allowed in",
    "AuthenticationFailed": "the key, SAS or token is wrong or has expired",
    "InvalidAuthenticationInfo": "the key, SAS or token is none that the service knows",
    "AuthorizationPermissionMismatch": "the credential is right, its role is not",
    "AuthorizationProtocolMismatch": "the SAS is for another protocol",
    "AccountIsDisabled": "the storage account is disabled",
    "InvalidBlockList": "another upload of the same file was complete first",
    "ServerBusy": "the storage is too busy",
}
"""Error codes of Azure Storage whose names do not say enough."""

_NOT_OUR_DOING = frozenset({
    "ContainerNotFound", "ContainerBeingDeleted", "ContainerDisabled", "ResourceNotFound",
    "InvalidBlockList", "InvalidBlobOrBlock",
})  # fmt: skip
"""Codes whose status would be permanent, and which pass: the lake is gone and will be put right; two uploads of one
file overlapped, and the one that was complete first took the other's parts away."""

_NOT_THE_STORE = ("failed validation check", "schema error", "cannot cast", "can't cast", "cast error", "invariant")

_CREDENTIAL = re.compile(r"lake credential \[(\w+)\]: ([^\n]{1,300}?)(?: \[end\])")
"""How our own failure looks after it went through a native library, which keeps nothing of it but its text."""

_TRANSIENT_STATUS = frozenset({408, 409, 412, 425, 429})
_AUTH_STATUS = frozenset({401, 403})


def http_status(error: BaseException) -> int | None:
    """Return the HTTP status that the error's text tells of, if it does."""
    match = _STATUS.search(_plain(error))
    return int(match.group(1)) if match else None


def is_conflict(error: BaseException) -> bool:
    """Tell whether another writer was faster, so that the same merge from a fresh snapshot may succeed."""
    return isinstance(error, CommitFailedError) and http_status(error) in (None, 409, 412)


def credential_failure(error: PipelineError) -> RuntimeError:
    """Return what to raise inside a native library when there is no credential: `storage_failure` reads it back."""
    return RuntimeError(f"lake credential [{error.category.value}]: {error.text} [end]")


def storage_failure(error: Exception, doing: str) -> PipelineError:
    """Return the failure as a PipelineError; `doing` says what was tried, in words that are safe to log.

    Its text names the class, status, service code or system error, never the original text (I10).
    """
    if isinstance(error, PipelineError):
        return error
    if ours := _CREDENTIAL.search(str(error)):
        return PipelineError(f"{doing} failed: {ours.group(2)}", Category(ours.group(1)))
    category = _category(error)
    return PipelineError(f"{doing} failed: {_facts(error)}", category)


def _plain(error: BaseException) -> str:
    return re.sub(r"\x1b\[\d+m|[\s\u21b3]+", " ", str(error))


def _facts(error: Exception) -> str:
    facts = [type(error).__name__]
    if (status := http_status(error)) is not None:
        facts.append(f"HTTP {status}")
    if code := _CODE.search(str(error)):
        facts.append(code.group(1))
        if meaning := _SERVICE_CODES.get(code.group(1)):
            facts.append(meaning)
    elif status is None and (cause := _cause(error)):
        facts.append(cause)
    if (number := _errno(error)) is not None:
        facts.append(os.strerror(number))
    return ", ".join(facts)


def _cause(error: Exception) -> str | None:
    text = str(error).lower()
    if not any(word in text for word in _NETWORK):
        return None
    return next((meaning for word, meaning in _CAUSES if word in text), None)


def _errno(error: Exception) -> int | None:
    if isinstance(error, OSError) and error.errno is not None:
        return error.errno
    match = _OS_ERROR.search(str(error))
    return int(match.group(1)) if match else None


def _category(error: Exception) -> Category:  # noqa: PLR0911 - a table of cases reads best as one
    status = http_status(error)
    code = _CODE.search(str(error))
    if code and code.group(1) in _NOT_OUR_DOING:
        return Category.TRANSIENT
    if status in _AUTH_STATUS or isinstance(error, (PermissionDeniedError, UnauthenticatedError)):
        return Category.AUTH
    if status is not None and (status in _TRANSIENT_STATUS or status >= 500):
        return Category.TRANSIENT
    if status is not None and status >= 400:
        return Category.PERMANENT
    if is_conflict(error) or isinstance(error, (AlreadyExistsError, PreconditionError)):
        return Category.TRANSIENT
    if isinstance(error, (SchemaMismatchError, InvalidPathError, NotSupportedError, UnknownConfigurationKeyError)):
        return Category.PERMANENT
    text = _plain(error).lower()
    if any(word in text for word in _NOT_THE_STORE):
        return Category.PERMANENT
    if isinstance(error, OSError) or _errno(error) is not None or any(word in text for word in _NETWORK):
        return Category.TRANSIENT  # a full or missing disk, a server that does not answer: an outage, not the record
    return Category.UNKNOWN
