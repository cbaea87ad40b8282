"""Records that are no event [EVT-5, settled point 14]: each must end in the `events` dead letters, unchanged."""

from __future__ import annotations

from collections.abc import Callable
from random import Random

_TYPED = '{"eventType":"PROJECT_CREATED",'
_TIMED = _TYPED + '"projectId":%s,"IngestionTime":%s}'

MALFORMED: dict[str, Callable[[str], bytes]] = {
    "empty": lambda _: b"",
    "not JSON": lambda _: b"PROJECT_CREATED happened",
    "cut short": lambda project: _TYPED.encode() + b'"projectId":' + project.encode(),
    "two documents": lambda project: f'{_TYPED}"projectId":{project}}}{{}}'.encode(),
    "array": lambda project: f'[{_TYPED}"projectId":{project}}}]'.encode(),
    "string": lambda project: f'"{project}"'.encode(),
    "number": lambda project: project.encode(),
    "null": lambda _: b"null",
    "invalid UTF-8": lambda project: f'{_TYPED}"projectId":{project},"note":"'.encode() + b'\xff\xfe"}',
    "UTF-16": lambda project: f'{_TYPED}"projectId":{project}}}'.encode("utf-16"),
    "empty object": lambda _: b"{}",
    "no event type": lambda project: f'{{"projectId":{project}}}'.encode(),
    "null event type": lambda project: f'{{"eventType":null,"projectId":{project}}}'.encode(),
    "blank event type": lambda project: f'{{"eventType":" \\t","projectId":{project}}}'.encode(),
    "no project id": lambda _: b'{"eventType":"PROJECT_CREATED"}',
    "null project id": lambda _: b'{"eventType":"PROJECT_FILE_ADDED","projectId":null,"mediaId":7100001}',
    "blank project id": lambda _: b'{"eventType":"PROJECT_CREATED","projectId":"  "}',
    "boolean project id": lambda _: b'{"eventType":"PROJECT_CREATED","projectId":true}',
    "object project id": lambda project: f'{_TYPED}"projectId":{{"id":{project}}}}}'.encode(),
    "fractional project id": lambda project: f'{_TYPED}"projectId":{project}.5}}'.encode(),
    "impossible day": lambda project: (_TIMED % (project, '"2026-02-30T00:00:00Z"')).encode(),
    "impossible hour": lambda project: (_TIMED % (project, '"2026-02-03T25:61:00Z"')).encode(),
    "time in words": lambda project: (_TIMED % (project, '"yesterday"')).encode(),
}
"""Each kind of flaw by name, as a function of the project id that the record would have been about."""


def malformed_value(rng: Random, project_id: str, number: int) -> bytes:
    """Return a malformed value; successive numbers go through all kinds, so that none is missing from a long feed."""
    kinds = tuple(MALFORMED)
    return MALFORMED[kinds[(number + rng.randrange(2)) % len(kinds)]](project_id)
