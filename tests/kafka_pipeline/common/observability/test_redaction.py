"""A planted secret never survives, in whatever form it was written (I10, [SEC-7], [SEC-9])."""

from __future__ import annotations

import base64
import json
import time
from urllib.parse import quote, urlencode

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import BaseModel, ValidationError

from kafka_pipeline.common.failures import Category, PipelineError
from kafka_pipeline.common.observability.redaction import is_secret_name, redact, safe_error_text

CANARY = "Canary4711xyz"

NAMES = [
    *("authorization", "token", "key", "api-key", "password", "secret", "x-amz-signature", "x-amz-credential"),
    *("x-amz-security-token", "signature", "sig", "se", "sp", "sv", "sr", "skoid", "sktid", "linkCode"),
    *("access_token", "refreshToken", "client_secret", "SharedAccessKey", "AccountKey", "X-Goog-Signature", "pwd"),
]


def spelled(name: str) -> st.SearchStrategy[str]:
    """Return the name in any case, with `-` for `_` and the other way round."""
    plain = [name, name.replace("-", "_"), name.replace("_", "-")]
    return st.sampled_from([form for word in plain for form in (word, word.lower(), word.upper(), word.title())])


names = st.sampled_from(NAMES).flatmap(spelled)
filler = st.text(st.characters(codec="utf-8", exclude_characters="<"), max_size=20)
plain_values = st.text("abcXYZ012+/=._~-", max_size=10).map(lambda text: CANARY + text)


@st.composite
def planted(draw: st.DrawFn) -> str:
    """Return a text that says the canary somewhere, in one of the forms that texts take."""
    name, value = draw(names), draw(plain_values)
    before, after = draw(filler), draw(filler)
    forms = [
        f"{name}={value}",
        f"a=1&{name}={value}&b=2",
        f"?{name}={quote(value)}",
        f"x%26{name}%3D{quote(value, safe='')}",
        f"{name}: {value}",
        f"{name} = '{value} and more'",
        f'{name}="{value}, \\" and more"',
        json.dumps({"a": 1, name: f'{value} "quoted" \n'}),
        json.dumps({name: {"nested": [value]}}),
        json.dumps({name: [value, value]}),
        json.dumps(json.dumps({name: f"{value} blank", "z": 1})),
        json.dumps(json.dumps(json.dumps({name: value}))),
        orjson.dumps({name: value}, option=orjson.OPT_INDENT_2).decode(),
        repr({name: value}),
        repr({name.encode(): value.encode()}),
        repr([(name, value), ("other", "x")]),
        repr([(name.encode(), value.encode())]),
        f"<{name}>{value}</{name}>",
        f"--{name} {value}",
        f"--{name}={value}",
        f"headers['{name}'] = {value!r}",
        f"curl -H '{name}: {value}' ",
        f"{name} => {value}",
        f"{name}\\u003d{value}\\u0026",
        f"Bearer {value}",
        f"authorization: Basic {base64.b64encode(value.encode()).decode()} {value}",
        f'Authorization: Digest username="x", response="{value}"',
        f"{{'{name}': SecretStr('{value}')}}",
        f"https://files.example.com/{value}",
        f"https://files.example.com/a?{urlencode({name: value})}",
        f"HTTPS://{quote(value, safe='')}:{quote(value, safe='')}@files.example.com:443/#{value}",
        f"(see https://files.example.com/a/{value}/b.jpg)",
        f"URL('https://files.example.com/it's/{value}')",
        quote(f"https://files.example.com/{value}?x=1", safe=""),
        json.dumps({"url": f"https://files.example.com/{value}"}).replace("/", "\\/"),
        f"sb://bus.example.com/;SharedAccessKeyName=n;SharedAccessKey={value};EntityPath=e",
        f"DefaultEndpointsProtocol=https;AccountName=a;AccountKey={value};EndpointSuffix=example.com",
        f"{CANARY}@mail.example.com",
        f"o'{CANARY}@mail.example.com",
        f"{CANARY}%40mail.example.com",
        f"eyJ{CANARY}.{CANARY}.{CANARY}",
    ]
    return f"{before} {draw(st.sampled_from(forms))} {after}"


@settings(deadline=None, max_examples=800)
@given(planted())
def test_a_planted_secret_never_survives(text: str) -> None:
    """Query, JSON, JSON in JSON, header, pair, tag, flag, connection string, link, mail; also redacted twice."""
    assert CANARY not in redact(text)
    assert CANARY not in redact(redact(text))


@settings(deadline=None, max_examples=300)
@given(planted(), st.integers(1, 600))
def test_an_error_text_is_safe_and_short(text: str, limit: int) -> None:
    """Also where it is cut."""
    told = safe_error_text(RuntimeError(text), limit)

    assert CANARY not in told
    assert 0 < len(told) <= limit


@settings(deadline=None, max_examples=300)
@given(st.text() | st.text("ab=:\"'\\{}[]()<>&%3D/@ \n,", max_size=60))
def test_any_text_goes_in_and_a_text_comes_out(text: str) -> None:
    """Total: no input raises."""
    assert isinstance(redact(text), str)


@pytest.mark.parametrize(
    "text",
    [
        "project 4711: not found",
        "GET /export/project/{id} answered 404",
        "offset 17 of claimx.events.raw-3, 12 records in 0.5 s",
        "2026-03-01T12:00:00+00:00 [info] batch_done",
        '{"project_id": "4711", "media_id": "8200001", "n": [1, 2]}',
        "monkey=1 keyboard: 2 signal=9 separate=1 spare: x",
        "retry.5m -> claimx.dlq.events",
        "",
    ],
)
def test_harmless_text_stays_as_it_is(text: str) -> None:
    """Redaction that takes everything would be no help either."""
    assert redact(text) == text


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("GET https://u:p@files.example.com/a/b?c=d failed", "GET https://files.example.com/<redacted> failed"),
        ("abfss://lake@onelake.example.com/x", "abfss://onelake.example.com/<redacted>"),
        ("https://[2600::1]:8443/a", "https://[2600::1]:8443/<redacted>"),
        ('{"token": "abc", "id": 7}', '{"token": <redacted>, "id": 7}'),
        ("sig=abc&page=2", "sig=<redacted>&page=2"),
        ("Bearer abc, next", "Bearer <redacted>, next"),
        ("jane.doe+x@mail.example.com wrote", "<email> wrote"),
    ],
)
def test_what_is_left_still_tells_the_story(text: str, shown: str) -> None:
    """Host, names and the words around stay."""
    assert redact(text) == shown


@pytest.mark.parametrize(
    "text",
    [
        *("a" * 300_000, "%41" * 100_000, "a." * 150_000, "https://" * 40_000, "bearer " * 40_000, "token=" * 50_000),
        *("('token', " * 30_000, "eyJ" * 100_000, "a:" * 150_000, "\\" * 300_000, 'token:\\"' * 40_000, "x@" * 100_000),
        *("token  =  " * 30_000, '"token": "' * 30_000, "--token " * 40_000, "<token>" * 40_000, "http" * 80_000),
        *("a-" * 150_000 + "@", "a@b." * 80_000, "(" * 300_000, "'" * 300_000, "\\u0026" * 50_000),
    ],
    ids=lambda text: repr(text[:10]),
)
def test_time_is_linear_in_the_length(text: str) -> None:
    """300 KB of the worst kind take a moment; a quadratic pattern would take minutes."""
    began = time.perf_counter()

    redact(text)

    assert time.perf_counter() - began < 5.0


@pytest.mark.parametrize(("name", "secret"), [("X_AMZ_SIGNATURE", True), ("query.sig", True), ("event_type", False)])
def test_names_are_compared_without_case_and_separators(name: str, secret: bool) -> None:  # noqa: FBT001
    """[SEC-9]: `-` and `_` are equal."""
    assert is_secret_name(name) is secret
    assert all(is_secret_name(known) for known in NAMES)


def test_a_validation_error_tells_fields_not_values() -> None:
    """Pydantic puts the input in its text; the input is somebody's data."""

    class Model(BaseModel):
        media_id: int

    with pytest.raises(ValidationError) as caught:
        Model.model_validate({"media_id": CANARY})

    assert safe_error_text(caught.value) == "1 invalid: media_id: int_parsing"


def test_a_file_error_tells_no_path() -> None:
    """File names are chosen by policyholders."""
    error = FileNotFoundError(2, "No such file or directory", f"/cache/{CANARY}.jpg")

    assert safe_error_text(error) == "[Errno 2] No such file or directory"


def test_an_error_without_words_is_named_by_its_class() -> None:
    """Never empty, and a broken __str__ breaks nothing."""

    class BrokenError(Exception):
        def __str__(self) -> str:
            raise RuntimeError(CANARY)

    assert safe_error_text(TimeoutError()) == "TimeoutError"
    assert safe_error_text(BrokenError()) == "BrokenError"


def test_our_own_errors_keep_their_words() -> None:
    """They are built safe, and pass through."""
    text = "GET /export/project/{id} answered 503"

    assert safe_error_text(PipelineError(text, Category.TRANSIENT)) == text


def test_a_huge_text_is_cut_where_no_half_secret_stays() -> None:
    """The cut falls into an address: the half that is left would not be recognised."""
    text = "x " * 8_185 + f"{CANARY}@mail.example.com" + " y" * 100_000

    assert CANARY not in safe_error_text(RuntimeError(text), limit=100_000)
