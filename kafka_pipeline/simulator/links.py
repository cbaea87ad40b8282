"""Download links: S3's presigned form with its real signature, and the ClaimX file service's own form [section 6].

The signature is AWS Signature Version 4 in the query string: an HMAC over method, path, all other query parameters and
the host, so that a link serves one method, on one host, for one object, for its time.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import Enum
from urllib.parse import quote

_ALGORITHM = "AWS4-HMAC-SHA256"
_SIGNATURE = "X-Amz-Signature"
_STAMP = "%Y%m%dT%H%M%SZ"


class LinkVerdict(Enum):
    """What the storage says of a request."""

    VALID = "valid"
    UNSIGNED = "unsigned"
    """No signature, or not all of it."""
    EXPIRED = "expired"
    FORGED = "forged"
    """Another method, host, object, parameter or key than was signed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Signer:
    """Makes and checks presigned links of one account. `secret_key` never leaves it."""

    access_key: str
    secret_key: str
    region: str = "us-east-1"

    def presign(self, host: str, path: str, *, now: datetime, lifetime_s: int) -> str:
        """Return the link for GET of `path` (not yet quoted) on `host` (`name:port`), over plain HTTP."""
        stamp = now.astimezone(UTC).strftime(_STAMP)
        query = {
            "X-Amz-Algorithm": _ALGORITHM,
            "X-Amz-Credential": f"{self.access_key}/{self._scope(stamp)}",
            "X-Amz-Date": stamp,
            "X-Amz-Expires": str(lifetime_s),
            "X-Amz-SignedHeaders": "host",
        }
        signature = self.signature("GET", host, path, query.items())
        return f"http://{host}{quote(path)}?{_canonical(query.items())}&{_SIGNATURE}={signature}"

    def check(
        self, method: str, host: str, path: str, query: Iterable[tuple[str, str]], *, now: datetime
    ) -> LinkVerdict:
        """Judge a request: `path` and `query` decoded once, `host` as the request's header has it."""
        pairs = list(query)
        fields = dict(pairs)
        try:
            given = fields[_SIGNATURE]
            signed_at = datetime.strptime(fields["X-Amz-Date"], _STAMP).replace(tzinfo=UTC)
            lifetime = timedelta(seconds=int(fields["X-Amz-Expires"]))
            known = fields["X-Amz-Credential"] == f"{self.access_key}/{self._scope(fields['X-Amz-Date'])}"
        except (KeyError, ValueError, OverflowError):
            return LinkVerdict.UNSIGNED
        expected = self.signature(method, host, path, [pair for pair in pairs if pair[0] != _SIGNATURE])
        if not known or not hmac.compare_digest(expected.encode(), given.encode()):
            return LinkVerdict.FORGED
        return LinkVerdict.EXPIRED if now >= signed_at + lifetime else LinkVerdict.VALID

    def signature(self, method: str, host: str, path: str, query: Iterable[tuple[str, str]]) -> str:
        """Return the signature of a request whose only signed header is `host` and whose body is not signed."""
        pairs = list(query)
        stamp = dict(pairs)["X-Amz-Date"]
        request = "\n".join((method, quote(path), _canonical(pairs), f"host:{host}", "", "host", "UNSIGNED-PAYLOAD"))
        digest = hashlib.sha256(request.encode()).hexdigest()
        scope = self._scope(stamp)
        key = f"AWS4{self.secret_key}".encode()
        for word in scope.split("/"):
            key = hmac.digest(key, word.encode(), "sha256")
        return hmac.digest(key, f"{_ALGORITHM}\n{stamp}\n{scope}\n{digest}".encode(), "sha256").hex()

    def _scope(self, stamp: str) -> str:
        return f"{stamp[:8]}/{self.region}/s3/aws4_request"


def file_service_link(origin: str, media_id: int, file_name: str | None, *, now: datetime, lifetime_s: int) -> str:
    """Return the file service's link: `systemDate` in epoch milliseconds, `expires` as a lifetime in milliseconds."""
    name = "" if file_name is None else f"filename={quote(file_name, safe='')}&"
    system_date = int(now.timestamp() * 1000)
    return f"{origin}{file_service_path(media_id)}?{name}systemDate={system_date}&expires={lifetime_s * 1000}"


def file_service_path(media_id: int) -> str:
    """Return the path of one file on the file service."""
    return f"/service/cxfileservice/file/{media_id}"


def file_service_expired(system_date: str | None, expires: str | None, *, now: datetime) -> bool:
    """Say whether the link's time is over; a link without readable times is."""
    try:
        return int(now.timestamp() * 1000) >= int(system_date or "") + int(expires or "")
    except ValueError:
        return True


def _canonical(query: Iterable[tuple[str, str]]) -> str:
    return "&".join(sorted(f"{quote(name, safe='')}={quote(value, safe='')}" for name, value in query))
