"""Resolves names to addresses that a download may connect to ([SEC-4]).

The connection is made to the very addresses that were checked: a name that changes its answer between a check and a
connection (DNS rebinding) has no such gap to use.
"""

from __future__ import annotations

import socket
from collections.abc import Callable

from aiohttp.abc import AbstractResolver, ResolveResult

from kafka_pipeline.common.http.addresses import AddressKind, check_address
from kafka_pipeline.common.http.errors import DownloadError, Fault


class CheckedResolver(AbstractResolver):
    """Asks another resolver once, and passes on only the addresses that may be connected to.

    `allows_private` says for which host and port loopback and private addresses are fine. Where no address is left it
    raises DownloadError (ADDRESS_BLOCKED); failures of the other resolver (OSError) pass through.
    """

    def __init__(self, inner: AbstractResolver, allows_private: Callable[[str, int], bool]) -> None:
        self._inner = inner
        self._allows_private = allows_private

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        """Return the checked addresses of a host."""
        private = self._allows_private(host, port)
        checked: list[ResolveResult] = []
        blocked: set[AddressKind] = set()
        for answer in await self._inner.resolve(host, port, family):
            kind = check_address(answer["host"], allow_private=private)
            if kind is None:
                checked.append(answer)
            else:
                blocked.add(kind)
        if not checked and not blocked:
            raise OSError("the name has no address")
        if not checked:
            kinds = ", ".join(sorted(kind.value for kind in blocked))
            raise DownloadError(Fault.ADDRESS_BLOCKED, host=host, detail=f"resolves to {kinds} only")
        return checked

    async def close(self) -> None:
        """Close the other resolver."""
        await self._inner.close()
