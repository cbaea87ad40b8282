"""Many single look-ups of a table, answered by few reads."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Collection, Mapping
from contextvars import Context
from typing import Generic, TypeVar

from kafka_pipeline.common.pulse import awaiting

K = TypeVar("K")
V = TypeVar("V")

LONGEST_REST_S = 0.25


class GroupedLookup(Generic[K, V]):
    """Gathers the keys that are asked for while a read runs, and asks for all of them in the next one.

    A read of a Delta table costs about the same for one key and for a thousand, so a worker with hundreds of records
    in flight must not read once per record. `fetch` returns the values it found; keys it leaves out are absent. An
    error of a read reaches everyone who asked in it. At most `max_keys` are read at once (I9).

    Between two reads there is a rest as long as the last one took, `LONGEST_REST_S` at most: a table of many small
    files takes long to read, and reads one after the other would take a core for themselves, while every one of them
    could have answered more.
    """

    def __init__(self, fetch: Callable[[Collection[K]], Awaitable[Mapping[K, V]]], *, max_keys: int = 1_000) -> None:
        self._fetch = fetch
        self._max_keys = max_keys
        self._waiting: dict[K, asyncio.Future[V | None]] = {}
        self._reader: asyncio.Task[None] | None = None

    async def get(self, key: K) -> V | None:
        """Return the value as it stood at some moment after this call began, or None."""
        future = self._waiting.get(key)
        if future is None:
            future = self._waiting[key] = asyncio.get_running_loop().create_future()
        if self._reader is None or self._reader.done():
            # In a context of its own: it reads for many callers, and is in nobody's trace.
            self._reader = asyncio.create_task(self._read(), name="grouped-lookup", context=Context())
        with awaiting("lake"):
            return await asyncio.shield(future)

    async def get_all(self, keys: Collection[K]) -> dict[K, V]:
        """Return the values of these keys, those that are absent left out; each as `get` would."""
        values = await asyncio.gather(*map(self.get, keys))
        return {key: value for key, value in zip(keys, values, strict=True) if value is not None}

    async def _read(self) -> None:
        loop = asyncio.get_running_loop()
        while self._waiting:
            began_at = loop.time()
            keys = list(self._waiting)[: self._max_keys]
            asked = {key: self._waiting.pop(key) for key in keys}
            try:
                found = await self._fetch(keys)
            except BaseException as error:
                for future in asked.values():
                    if not future.done():
                        if isinstance(error, Exception):
                            future.set_exception(error)
                            future.exception()  # a caller that went away does not collect it
                        else:
                            future.cancel()
                if not isinstance(error, Exception):
                    raise
            else:
                for key, future in asked.items():
                    if not future.done():
                        future.set_result(found.get(key))
            await asyncio.sleep(min(loop.time() - began_at, LONGEST_REST_S))
