"""A file that streams into the lake while it still comes: readers see all of its bytes or none.

    open ──write, hash──▶ parts, a few in flight ──finish──▶ complete ─▶ rename (local) ─▶ size checked
                                  └──discard──▶ aborted: nothing is visible, nor was

A file of less than a part is gathered, and goes in one request.

A local file grows under a name of its own in `.incoming/`. On Azure the parts are blocks that nobody sees until the
last call names them; blocks that no call names are dropped by the service within a week.
"""

from __future__ import annotations

import asyncio
import hashlib
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final

import obstore
from obstore.exceptions import BaseError

from kafka_pipeline.common.failures import Category, PipelineError
from kafka_pipeline.common.lake.faults import storage_failure

if TYPE_CHECKING:
    from obstore import AsyncWritableFile

PART_BYTES: Final = 4 * 1024 * 1024
"""Bytes per part. A block blob has at most 50,000 blocks: larger than 200 GB no file may be."""

PARTS_IN_FLIGHT: Final = 2
"""With PART_BYTES, and one part being filled, the memory of one file on its way (I9): many of them stream at once."""

_HANDED_ON_BYTES: Final = 1 << 20
"""Bytes of a larger file that are gathered before they are hashed and handed on, in one turn of a thread."""

_HASHED_AT_ONCE_BYTES: Final = 128 * 1024
"""Fewer bytes are hashed sooner than a thread is found for it: some 0.1 ms, and most files are small."""


class Upload:
    """One file on its way; make it with `ObjectStore.upload`. A `Sink` of downloads.

    Every method but `discard` raises PipelineError by [7.4]. After a failure only `restart` and `discard` make sense.
    """

    def __init__(self, store: Any, *, place: str, target: str) -> None:  # noqa: ANN401 - obstore's stores share no public base class
        """`place` is where the bytes gather, `target` where readers look for them; both relative to the store."""
        self._store = store
        self._place = place
        self._target = target
        self._is_open = False
        self._held = bytearray()
        """What came and was not handed on: all bytes while they are less than a part."""
        self._writer: AsyncWritableFile | None = None
        """Set once they are more."""
        self._hash = hashlib.sha256()
        self._size_bytes = 0
        self._left_in_place = False

    @property
    def size_bytes(self) -> int:
        """Bytes so far."""
        return self._size_bytes

    @property
    def sha256(self) -> str:
        """Hex digest of the bytes, once it is finished."""
        return self._hash.hexdigest()

    async def open(self) -> None:
        """Make ready for bytes; asks the storage nothing yet."""
        self._is_open = True

    async def write(self, data: bytes) -> None:
        """Append bytes; waits while the parts in flight are as many as may be."""
        if not self._is_open:
            raise ValueError("the upload is not open")
        self._held += data
        self._size_bytes += len(data)
        if len(self._held) >= (PART_BYTES if self._writer is None else _HANDED_ON_BYTES):
            try:
                await self._hand_on()
            except (BaseError, OSError, ValueError) as error:
                raise storage_failure(error, "writing a file of the lake") from None

    async def restart(self) -> None:
        """Give up what was written and begin with the first byte again."""
        await self.discard()
        self._hash = hashlib.sha256()
        self._size_bytes = 0
        await self.open()

    async def finish(self) -> None:
        """Put the file in its place as a whole, replacing what was there, and check its size."""
        if not self._is_open:
            raise ValueError("the upload is not open")
        self._left_in_place = self._place != self._target
        try:
            await self._put_rest()
            if self._left_in_place:
                await obstore.rename_async(self._store, self._place, self._target, overwrite=True)
                self._left_in_place = False
            stored = int((await obstore.head_async(self._store, self._target))["size"])
        except (BaseError, OSError, ValueError) as error:
            raise storage_failure(error, "writing a file of the lake") from None
        if stored != self._size_bytes:
            raise PipelineError(f"an upload of {self._size_bytes} bytes arrived as {stored}", Category.TRANSIENT)

    async def discard(self) -> None:
        """Abort what is not finished. After `finish` it does nothing; safe to call twice, raises nothing."""
        self._is_open, self._held = False, bytearray()
        self._writer = None  # an unfinished writer that is let go aborts: there is no other call for it
        if self._left_in_place:
            self._left_in_place = False
            with suppress(BaseError, OSError, ValueError):
                await obstore.delete_async(self._store, self._place)

    async def _put_rest(self) -> None:
        """Hand on what is held still: of a small file that is all of it."""
        self._is_open = False
        if self._writer is None:
            data = await self._hashed()
            await obstore.put_async(self._store, self._place, data, use_multipart=False)
        else:
            await self._hand_on()
            writer, self._writer = self._writer, None
            await writer.close()

    async def _hand_on(self) -> None:
        if self._writer is None:
            self._writer = obstore.open_writer_async(
                self._store, self._place, buffer_size=PART_BYTES, max_concurrency=PARTS_IN_FLIGHT
            )
        await self._writer.write(await self._hashed())

    async def _hashed(self) -> bytes:
        """Take what is held, and hash it."""
        data, self._held = bytes(self._held), bytearray()
        if len(data) > _HASHED_AT_ONCE_BYTES:
            await asyncio.to_thread(self._hash.update, data)
        else:
            self._hash.update(data)
        return data
