"""Files of the lake, through obstore: streamed up, checked by size, never visible half-written."""

from __future__ import annotations

import asyncio
import os
import uuid
from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import obstore
import structlog
from obstore.exceptions import BaseError
from obstore.store import LocalStore, from_url

from kafka_pipeline.common.azure.credential import CurrentCredential
from kafka_pipeline.common.failures import Category, PipelineError
from kafka_pipeline.common.lake.faults import storage_failure
from kafka_pipeline.common.lake.identity import StoreCredential
from kafka_pipeline.common.lake.incoming import Incoming, incoming_of
from kafka_pipeline.common.lake.location import RETRIES, RETRY_SECONDS, LakeLocation, unwritable
from kafka_pipeline.common.lake.upload import PART_BYTES, Upload

if TYPE_CHECKING:
    from obstore.store import RetryConfig

CHUNK_BYTES = PART_BYTES
"""Bytes per uploaded part."""

CONCURRENT_PARTS = 4
"""Parts of one file in flight: with CHUNK_BYTES the memory of one upload (I9)."""

_log = structlog.get_logger(__name__)

_SWITCH = ("true", "false")
"""Options of the HTTP client are text to deltalake; obstore wants those that are switches as such."""

_RETRIES: RetryConfig = {"max_retries": RETRIES, "retry_timeout": timedelta(seconds=RETRY_SECONDS)}


class ObjectStore:
    """Files under one root. Paths are relative, with `/`, and name the file exactly, whatever its characters.

    All methods raise PipelineError by [7.4] and are safe to call concurrently. obstore's local store writes beside the
    target under a longer name, which a name of 255 bytes does not allow: so a local file is written under a name of its
    own in `.incoming/`, beside the root, and renamed; what crashed processes left there is removed when the store is
    opened.
    """

    def __init__(
        self,
        store: Any,  # noqa: ANN401 - obstore's stores share no public base class
        *,
        prefix: str = "",
        incoming: Incoming | None = None,
        credential: CurrentCredential | None = None,
    ) -> None:
        self._store = store
        self._prefix = prefix
        self._incoming = incoming
        self._credential = credential

    @classmethod
    def from_url(
        cls,
        url: str,
        options: Mapping[str, str] | None = None,
        client: Mapping[str, str] | None = None,
        credential: CurrentCredential | None = None,
    ) -> ObjectStore:
        """Return the files under a URL (`az://`, `abfss://`, `https://`) or a local folder, which is created."""
        if "://" not in url:
            try:
                Path(url).mkdir(parents=True, exist_ok=True)
                # The waiting place lies beside the folder: what is in it is no file of the lake, not even for a moment.
                root = Path(url).absolute()
                incoming = incoming_of(root.parent)
                left = incoming.remove_abandoned()
                if left:
                    _log.info("abandoned_uploads_removed", files=left)
                return cls(LocalStore(root.parent), prefix=f"{root.name}/", incoming=incoming)
            except (OSError, BaseError) as error:
                raise storage_failure(error, "opening the folder of the files") from None
        config = cast("Any", dict(options or {}))
        http = cast("Any", {k: v == "true" if v in _SWITCH else v for k, v in (client or {}).items()})
        provider = StoreCredential(credential) if credential is not None else None
        try:
            store = from_url(
                url, config=config, client_options=http, retry_config=_RETRIES, credential_provider=provider
            )
            return cls(store, credential=credential)
        except (BaseError, ValueError) as error:
            raise storage_failure(error, "opening the store of the files") from None

    @classmethod
    def at(cls, location: LakeLocation) -> ObjectStore:
        """Return the files of a lake."""
        return cls.from_url(location.files, location.options, location.client, location.credential)

    async def put_file(self, path: str, local_path: Path) -> int:
        """Upload a file, replacing what is there, and return its size in bytes.

        A file of one part goes in one request; a larger one streams, at most CONCURRENT_PARTS of CHUNK_BYTES in memory.
        The size is asked for afterwards; if it differs from the file's, or the file is gone, PipelineError (transient)
        is raised.
        """
        try:
            size, content = await asyncio.to_thread(_size_and_content, local_path)
        except OSError as error:
            raise PipelineError(f"the file to upload cannot be read: {error.strerror}", Category.TRANSIENT) from None
        await self._put(path, local_path if content is None else content)
        stored = await self.head(path)
        if stored != size:
            raise PipelineError(f"an upload of {size} bytes arrived as {stored}", Category.TRANSIENT)
        return size

    def upload(self, path: str) -> Upload:
        """Return a place for a file whose bytes are still to come, and which will replace what is there."""
        target = self._prefix + path
        return Upload(self._store, place=self._place_for(target), target=target)

    async def put_bytes(self, path: str, data: bytes) -> None:
        """Store a few bytes, replacing what is there."""
        await self._put(path, data)

    async def head(self, path: str) -> int | None:
        """Return the size in bytes, or None if there is no such file."""
        try:
            return int((await obstore.head_async(self._store, self._prefix + path))["size"])
        except FileNotFoundError:
            return None
        except (BaseError, OSError, ValueError) as error:
            raise self._failure(error, "asking for a file of the lake") from None

    async def exists(self, path: str) -> bool:
        """Tell whether the file is there."""
        return await self.head(path) is not None

    async def delete(self, path: str) -> None:
        """Delete the file; that it is gone already is no error."""
        try:
            await obstore.delete_async(self._store, self._prefix + path)
        except FileNotFoundError:
            return
        except (BaseError, OSError, ValueError) as error:
            raise self._failure(error, "deleting a file of the lake") from None

    async def lists_from(self, path: str) -> bool:
        """Tell whether a listing that begins right before this existing file begins with it."""
        target = self._prefix + path
        try:
            async for some in obstore.list(self._store, offset=target[:-1]):
                return bool(some) and some[0]["path"] == target
        except (BaseError, OSError, ValueError) as error:
            raise self._failure(error, "listing files of the lake") from None
        return False

    async def _put(self, path: str, what: Path | bytes) -> None:
        target = self._prefix + path
        place = self._place_for(target)
        try:
            await obstore.put_async(self._store, place, what, chunk_size=CHUNK_BYTES, max_concurrency=CONCURRENT_PARTS)
            if place != target:
                await obstore.rename_async(self._store, place, target, overwrite=True)
        except (BaseError, OSError, ValueError) as error:
            raise self._failure(error, "writing a file of the lake") from None

    def _failure(self, error: Exception, doing: str) -> PipelineError:
        failure = storage_failure(error, doing)
        if failure.category is Category.AUTH and self._credential is not None:
            self._credential.refused()
        return failure

    def _place_for(self, target: str) -> str:
        """Return where the bytes of a file gather until it is whole."""
        return target if self._incoming is None else self._incoming.new_path()


def _size_and_content(path: Path) -> tuple[int, bytes | None]:
    """Return the size of a file in bytes, and what is in it if that is one part at most."""
    with path.open("rb") as file:
        size = os.fstat(file.fileno()).st_size
        content = file.read() if size <= CHUNK_BYTES else None
        return size if content is None else len(content), content


async def check_writable(location: LakeLocation) -> None:
    """Write, list and delete a small file beside tables and files, to learn now and not at the first event.

    Tables find their newest version by a listing that begins at a name. OneLake was known to answer it with nothing
    where workspace and lakehouse are addressed by name, and emulators to know nothing of it: then every commit would
    collide for ever. Raises PipelineError whose text names the place and the remedy; its category is that of [7.4].
    """
    await asyncio.to_thread(location.prepare)
    path = f".probe-{uuid.uuid4().hex}"
    try:
        store = ObjectStore.at(location)
        await store.put_bytes(path, b"lake?")
        listed = location.is_local or await store.lists_from(path)
        await store.delete(path)
    except PipelineError as error:
        raise unwritable(location, error.text, error.category) from None
    if not listed:
        raise PipelineError(
            f"the lake at {location.root} cannot be used: its storage does not list from a name on (startFrom), without"
            " which tables are not found again; on OneLake, give workspace and lakehouse by their ids",
            Category.PERMANENT,
        )
