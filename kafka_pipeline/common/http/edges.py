"""Where the exceptions of the network and of the disk become ours, and lose what they know of links and paths."""

from __future__ import annotations

import asyncio
import errno
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import ParamSpec, TypeVar

import aiohttp

from kafka_pipeline.common.http.answers import ERROR_BODY_LIMIT
from kafka_pipeline.common.http.errors import DownloadError, Fault

_P = ParamSpec("_P")
_T = TypeVar("_T")


@contextmanager
def network_faults(host: str) -> Iterator[None]:
    """Turn whatever the HTTP client raises within into a DownloadError that names the host alone."""
    try:
        yield
    except aiohttp.ClientSSLError as error:
        raise _told(Fault.TLS, host, error) from None
    except aiohttp.ClientPayloadError as error:
        raise _told(Fault.SHORT_BODY, host, error) from None
    except aiohttp.ClientResponseError as error:  # raised by the parser only: the reply is not HTTP
        raise _told(Fault.SERVER_ERROR, host, error) from None
    except TimeoutError as error:  # before OSError, whose child it is
        raise _told(Fault.TIMED_OUT, host, error) from None
    except (aiohttp.ClientError, OSError) as error:
        raise _told(Fault.NETWORK, host, error) from None


def _told(fault: Fault, host: str, error: Exception) -> DownloadError:
    # The class says enough; the text may hold the link.
    return DownloadError(fault, host=host, detail=type(error).__name__)


async def on_disk(call: Callable[_P, _T], *args: _P.args, **kwargs: _P.kwargs) -> _T:
    """Make a blocking call on files in a thread. Raises DownloadError (CACHE_UNWRITABLE) for OSError.

    When cancelled it waits for the call to end before it says so: nobody may close or delete a file under a thread
    that writes it.
    """
    running = asyncio.get_running_loop().run_in_executor(None, lambda: call(*args, **kwargs))
    try:
        return await asyncio.shield(running)
    except asyncio.CancelledError:
        while not running.done():
            with suppress(asyncio.CancelledError):
                await asyncio.wait({running})
        running.exception()  # looked at, so that asyncio does not complain of a lost one
        raise
    except OSError as error:
        name = errno.errorcode.get(error.errno or 0, "OSError")
        raise DownloadError(Fault.CACHE_UNWRITABLE, detail=name) from None


async def error_body(response: aiohttp.ClientResponse, timeout_s: float, limit_bytes: int = ERROR_BODY_LIMIT) -> bytes:
    """Return the beginning of an error's body, or what came of it in time; raises nothing [LNK-7]."""
    body = bytearray()
    with suppress(TimeoutError, aiohttp.ClientError, OSError):
        async with asyncio.timeout(timeout_s):
            while len(body) < limit_bytes:
                chunk = await response.content.read(limit_bytes - len(body))
                if not chunk:
                    break
                body += chunk
    return bytes(body)
