"""The fault proxy does to connections what its manner says."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from chaos.proxy import FAIR, FaultProxy, Manner, Weather


@pytest_asyncio.fixture
async def echo() -> AsyncIterator[tuple[str, int]]:
    """Give the place of a server that says everything again."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while piece := await reader.read(1024):
                writer.write(piece)
                await writer.drain()
        except OSError:
            pass
        finally:
            writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    async with server:
        yield server.sockets[0].getsockname()


@pytest_asyncio.fixture
async def proxy(echo: tuple[str, int]) -> AsyncIterator[FaultProxy]:
    """Give a proxy before that server."""
    async with FaultProxy(echo) as made:
        yield made


async def _connect(proxy: FaultProxy) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    host, port = proxy.address.split(":")
    return await asyncio.open_connection(host, int(port))


async def _said_again(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bytes:
    writer.write(b"hello")
    await writer.drain()
    return await reader.readexactly(5)


@pytest.mark.parametrize("weather", [FAIR, Weather(manner=Manner.LATE, delay_s=0.01)])
async def test_what_passes_arrives_unchanged(proxy: FaultProxy, weather: Weather) -> None:
    """In fair weather and in late, bytes come through in both directions."""
    proxy.put(weather)
    reader, writer = await _connect(proxy)
    assert await _said_again(reader, writer) == b"hello"
    writer.close()


@pytest.mark.parametrize("manner", [Manner.CUT, Manner.RESET])
async def test_a_cut_ends_old_connections_and_new_ones_until_it_is_over(proxy: FaultProxy, manner: Manner) -> None:
    """Whoever is connected hears of it, whoever connects is sent away, and afterwards all is well."""
    reader, writer = await _connect(proxy)
    assert await _said_again(reader, writer) == b"hello"
    proxy.put(Weather(manner=manner))
    assert await _ended(reader)
    late_reader, late_writer = await _connect(proxy)
    assert await _ended(late_reader)
    proxy.put(FAIR)
    new_reader, new_writer = await _connect(proxy)
    assert await _said_again(new_reader, new_writer) == b"hello"
    for each in (writer, late_writer, new_writer):
        each.close()


async def test_a_reset_is_one(proxy: FaultProxy) -> None:
    """The other side sees a reset, not an orderly end."""
    reader, writer = await _connect(proxy)
    assert await _said_again(reader, writer) == b"hello"
    proxy.put(Weather(manner=Manner.RESET))
    with pytest.raises(ConnectionResetError):
        await reader.read(1)
    writer.close()


async def test_a_half_open_connection_is_silent_until_it_heals(proxy: FaultProxy) -> None:
    """Connecting works and nothing comes through; what was sent meanwhile arrives afterwards, whole."""
    proxy.put(Weather(manner=Manner.HALF_OPEN))
    reader, writer = await _connect(proxy)
    waiting = asyncio.create_task(_said_again(reader, writer))
    done, _ = await asyncio.wait({waiting}, timeout=0.1)
    assert not done
    proxy.put(FAIR)
    assert await waiting == b"hello"
    writer.close()


async def _ended(reader: asyncio.StreamReader) -> bool:
    try:
        return await reader.read(1) == b""
    except ConnectionError:
        return True
