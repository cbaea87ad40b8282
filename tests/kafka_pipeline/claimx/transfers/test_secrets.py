"""No token, signature or signed query is written but into the tasks that need it: a whole flow, searched (I10)."""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote

import aiohttp
import pytest
from deltalake import DeltaTable

from kafka_pipeline.claimx.schemas.tasks import ClaimXDownloadTask
from kafka_pipeline.claimx.topics import DeadLetterKind
from kafka_pipeline.common.messaging import Message, Record

MARK = "PLANTED4711"
"""Part of every secret that this test makes up: in queries, user names, bodies and locations."""

EXPIRED = b"<Error><Code>AccessDenied</Code><Message>Request has expired</Message></Error>"


def signed(pair: str, path: str) -> str:
    """Return a link with every parameter that S3 signs with."""
    return (
        f"http://{pair}{path}?X-Amz-Credential={MARK}%2Fs3&X-Amz-Signature={MARK}&X-Amz-Security-Token={MARK}"
        f"&sig={MARK}&filename=a.jpg"
    )


def scripts(pair: str, answer: Any) -> dict[str, Any]:
    """Return what the storage answers: every kind of failure, each with a secret in its own words."""
    body = f"<Error><Resource>https://{pair}/x?sig={MARK}</Resource></Error>".encode()

    async def cut(write: Any) -> None:
        await write(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n" + body)

    async def nonsense(write: Any) -> None:
        await write(f"{MARK} is no answer\r\n\r\n".encode())

    return {
        "/gone": answer(404, body),
        "/forbidden": answer(403, body),
        "/expired": answer(403, EXPIRED),
        "/throttled": answer(429, body, Retry_After="1"),
        "/broken": answer(500, body, X_Token=MARK),
        "/elsewhere": answer(302, Location=f"https://elsewhere.example.com/?sig={MARK}"),
        "/login": answer(200, body, Content_Type="text/html"),
        "/cut": cut,
        "/nonsense": nonsense,
    }


def planted(pair: str) -> list[ClaimXDownloadTask]:
    """Return a task for each failure, and some whose link is refused before any request."""
    links = {
        **{path: signed(pair, path) for path in scripts(pair, lambda *_args, **_headers: None)},
        "refused": signed("elsewhere.example.com", "/x"),
        "with a user": f"http://user:{MARK}@{pair}/x",
        "not tls": signed(pair, "/x").replace("http:", "https:"),
        "malformed": f"http://{pair}\\@{MARK}/?sig={MARK}",
    }
    return [
        ClaimXDownloadTask(
            media_id=str(990 + number),
            project_id="900001",
            download_url=link,
            blob_path=f"claimx/900001/{990 + number}/a.jpg",
            expires_at=datetime.now(UTC) + timedelta(hours=1),
        )
        for number, link in enumerate(links.values())
    ]


def secrets_of(tasks: Iterable[ClaimXDownloadTask], token: str) -> set[str]:
    """Return every text that must not be found: marks, token, and the signed query of every link, in any spelling."""
    found = {MARK, token, base64.b64decode(token).decode()}
    for task in tasks:
        query = task.download_url.partition("?")[2]
        for name, _, value in (pair.partition("=") for pair in query.split("&")):
            if name.lower() in {"x-amz-signature", "x-amz-credential", "sig", "x-amz-security-token", "systemdate"}:
                found.add(f"{name}={value}")
                found |= {value, unquote(value)} if name.lower() != "systemdate" else set()
        found |= {query, quote(query, safe="")} - {""}
    return found


def headers_of(records: Iterable[Record]) -> Iterator[str]:
    """Return names and values of all headers."""
    for record in records:
        for name, value in record.headers:
            yield f"{name}: {(value or b'').decode(errors='replace')}"


def tables_of(lake: Path) -> Iterator[tuple[str, str]]:
    """Return every table as text, by its name."""
    for path in sorted((lake / "Tables").iterdir()):
        yield path.name, json.dumps(DeltaTable(str(path)).to_pyarrow_table().to_pylist(), default=str)


async def scraped(port: int) -> str:
    """Return the text of /metrics."""
    async with aiohttp.ClientSession() as session, session.get(f"http://127.0.0.1:{port}/metrics") as response:
        return await response.text()


@pytest.mark.timeout(240)
@pytest.mark.parametrize(("mode", "log_format"), [("cached", "json"), ("direct", "console")])
async def test_no_secret_is_written_anywhere_in_a_whole_flow(
    new_site: Any, program: Any, file_server: Any, unused_tcp_port: int, mode: str, log_format: str
) -> None:
    """From events to rows, files and dead letters, with every failure of a link on the way, at the finest log level."""
    site = await new_site(events=80)
    file_server.scripts = scripts(file_server.pair, file_server.answer)
    environ = site.environ | {
        "TRANSFER_MODE": mode,
        "LOG_FORMAT": log_format,
        "LOG_LEVEL": "debug",
        "HEALTH_PORT": str(unused_tcp_port),
        "ALLOW_PRIVATE_DOWNLOAD_HOSTS": f"{site.environ['ALLOW_PRIVATE_DOWNLOAD_HOSTS']},{file_server.pair}",
        "CLAIMX_RETRY_DELAYS_SECONDS": "1",
        "CLAIMX_BREAKER_RESET_SECONDS": "1",
    }
    events = [Message(topic=site.topics.events, key=item.key, value=item.value) for item in site.simulator.feed()]
    bad = planted(file_server.pair)
    pending = site.topics.downloads_pending
    await site.put(site.topics.events, *events)
    await site.put(pending, *(Message(topic=pending, key=b"k", value=task.to_bytes()) for task in bad))
    running = await program.start("claimx-all", "--exit-when-idle", "2", **environ)
    await site.filled(site.topics.downloads_results, 20)
    metrics = await scraped(unused_tcp_port)
    ended = await running.ended()
    assert ended.code == 0, ended.err
    shown = [await program.run("claimx-dlq", *words, **environ) for words in (("list",), ("inspect", "--json"))]

    letters = [record for kind in DeadLetterKind for record in await site.read(site.topics.dead_letters(kind))]
    retries = await site.read(f"{site.config.claimx_downloads_retry_topic_prefix}.1s")
    tasks = await site.read(pending)
    asked = [ClaimXDownloadTask.from_bytes(record.value) for record in tasks]
    assert len(letters) >= len(bad), "the failures are what this is about"
    assert retries
    written = {
        "log": ended.out + ended.err,
        "metrics": metrics,
        "commands": "".join(each.out + each.err for each in shown),
        "headers": "\n".join(headers_of([*letters, *retries, *tasks])),
        "results": b"\n".join(
            record.value or b"" for record in await site.read(site.topics.downloads_results)
        ).decode(),
        **dict(await asyncio.to_thread(lambda: list(tables_of(site.lake)))),
    }
    secrets = secrets_of(asked, site.simulator.token)
    held = b"\n".join(record.value or b"" for record in tasks).decode()
    assert len([secret for secret in secrets if secret in held]) > len(asked), "the search finds what is there"
    assert [name for name, text in written.items() if not text.strip()] == []
    found = {(name, secret[:12]) for name, text in written.items() for secret in secrets if secret in text}
    assert found == set()
