"""What foreign values become: tables of them, and laws that hold for any."""

from __future__ import annotations

import math
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta, timezone
from decimal import Decimal
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from structlog.testing import capture_logs

from kafka_pipeline.claimx.coercion import (
    CoercionError,
    observation_time,
    strict_id,
    to_bool,
    to_datetime,
    to_decimal_text,
    to_float,
    to_id,
    to_int,
    to_text,
    to_text_list,
    utc_from,
)

COERCIONS: dict[str, Callable[[object, str], object]] = {
    "id": to_id,
    "text": to_text,
    "int": to_int,
    "bool": to_bool,
    "float": to_float,
    "decimal_text": to_decimal_text,
    "datetime": to_datetime,
    "text_list": to_text_list,
}

READ = [
    # ids are trimmed text, see CNV-1
    ("id", 7100001, "7100001"),
    ("id", 7100001.0, "7100001"),
    ("id", Decimal("7100001.00"), "7100001"),
    ("id", -0.0, "0"),
    ("id", " 7100001\t", "7100001"),
    ("id", "abc", "abc"),
    ("id", "", None),
    ("id", "   ", None),
    ("id", None, None),
    ("id", 2**70, str(2**70)),
    ("id", "caf\u00e9\ud800", "caf\u00e9\ufffd"),
    # text is kept as received [settled point 13]
    ("text", " padded ", " padded "),
    ("text", "", ""),
    ("text", "00123", "00123"),
    ("text", 123, "123"),
    ("text", 1.5, "1.5"),
    ("text", 1e22, "10000000000000000000000"),
    ("text", True, "true"),
    ("text", False, "false"),
    ("text", None, None),
    ("text", "a\ud83dz", "a\ufffdz"),
    # integers [settled point 23]
    ("int", 1990, 1990),
    ("int", 1990.0, 1990),
    ("int", "1990", 1990),
    ("int", " +1 ", 1),
    ("int", "-3", -3),
    ("int", "1990.0", 1990),
    ("int", 2**63 - 1, 2**63 - 1),
    ("int", -(2**63), -(2**63)),
    ("int", "", None),
    ("int", None, None),
    # booleans
    ("bool", True, True),
    ("bool", False, False),
    ("bool", "true", True),
    ("bool", " FALSE ", False),
    ("bool", "True", True),
    ("bool", 1, True),
    ("bool", 0, False),
    ("bool", 1.0, True),
    ("bool", "1", True),
    ("bool", "0", False),
    ("bool", "", None),
    ("bool", None, None),
    # floats
    ("float", 12.5, 12.5),
    ("float", 12, 12.0),
    ("float", "-45.25", -45.25),
    ("float", " 1e3 ", 1000.0),
    ("float", "", None),
    # decimal text: no rounding, no exponent
    ("decimal_text", 1234.5, "1234.5"),
    ("decimal_text", 0.1, "0.1"),
    ("decimal_text", 1234, "1234"),
    ("decimal_text", 1e-7, "0.0000001"),
    ("decimal_text", "1234.50", "1234.50"),
    ("decimal_text", Decimal("0.10"), "0.10"),
    ("decimal_text", "", None),
    # times
    ("datetime", "2026-03-02T14:00:00Z", datetime(2026, 3, 2, 14, tzinfo=UTC)),
    ("datetime", 1772460310000, datetime(2026, 3, 2, 14, 5, 10, tzinfo=UTC)),
    ("datetime", "", None),
    ("datetime", None, None),
    # lists of text
    ("text_list", ["a", "", None, 1], ["a", "1"]),
    ("text_list", [], None),
    ("text_list", None, None),
]

REFUSED = [
    ("id", True),
    ("id", False),
    ("id", 1.5),
    ("id", math.inf),
    ("id", math.nan),
    ("id", [1]),
    ("id", {}),
    pytest.param("id", 10**5000, id="id-too-long"),
    ("text", ["a"]),
    ("text", {}),
    ("text", math.nan),
    ("int", 1990.7),
    ("int", "1990.7"),
    ("int", True),
    ("int", "1,990"),
    ("int", "1_990"),
    ("int", "١٩٩٠"),
    ("int", 2**63),
    ("int", "9" * 30),
    ("int", "abc"),
    ("int", []),
    ("int", math.inf),
    ("bool", "yes"),
    ("bool", 2),
    ("bool", -1),
    ("bool", 0.5),
    ("bool", []),
    ("bool", math.nan),
    ("float", "nan"),
    ("float", "inf"),
    ("float", "1_0"),
    ("float", math.nan),
    ("float", math.inf),
    ("float", True),
    pytest.param("float", 10**400, id="float-too-great"),
    ("float", "1e999"),
    ("float", {}),
    ("decimal_text", "twenty"),
    ("decimal_text", True),
    ("decimal_text", math.nan),
    ("decimal_text", [1]),
    ("datetime", "soon"),
    ("datetime", "2026-13-01"),
    ("datetime", True),
    ("datetime", 10**40),
    ("datetime", math.inf),
    ("datetime", []),
    ("text_list", "a"),
    ("text_list", {"url": "a"}),
    ("text_list", [["a"]]),
]


@pytest.mark.parametrize(("kind", "value", "expected"), READ)
def test_what_can_be_read_is_read_without_a_word(kind: str, value: object, expected: object) -> None:
    """The value, in the type of its column, and no warning."""
    with capture_logs() as logs:
        result = COERCIONS[kind](value, "field")
    assert (expected, type(expected)) == (result, type(result))
    assert logs == []


@pytest.mark.parametrize(("kind", "value"), REFUSED)
def test_what_cannot_be_read_is_null_with_a_warning(kind: str, value: object) -> None:
    """Null, and a warning that names the field and the kind [MRG-7]."""
    with capture_logs() as logs:
        assert COERCIONS[kind](value, "year_built") is None
    assert [(entry["log_level"], entry["field"]) for entry in logs] == [("warning", "year_built")]


def test_the_warning_never_holds_the_value() -> None:
    """Personal data may stand in any field (I10)."""
    with capture_logs() as logs:
        to_int("Pat Sample", "year_built")
    assert "Pat" not in str(logs)


@pytest.mark.parametrize("kind", COERCIONS)
@settings(deadline=None, max_examples=100)
@given(
    value=st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.binary(),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
        max_leaves=5,
    )
)
def test_no_value_makes_a_coercion_raise(kind: str, value: object) -> None:
    """Whatever comes: a value of the right type, or null; and what came out of it stays as it is."""
    result = COERCIONS[kind](value, "field")
    if kind == "float":
        assert result is None or (isinstance(result, float) and math.isfinite(result))
    if isinstance(result, str):
        result.encode()
    assert result == COERCIONS[kind](result, "field")


@settings(deadline=None, max_examples=200)
@given(number=st.integers(min_value=-(10**40), max_value=10**40))
def test_an_id_keeps_every_digit(number: int) -> None:
    """Integers of any length become exactly their digits [CNV-1]."""
    assert str(number) == strict_id(number)


@settings(deadline=None, max_examples=200)
@given(number=st.floats(allow_nan=False, allow_infinity=False))
def test_decimal_text_means_the_same_number(number: float) -> None:
    """No rounding on the way through text."""
    text = to_decimal_text(number)
    assert text is not None
    assert number == float(text)
    assert "e" not in text.lower()


class TestTimes:
    """Aware UTC, always."""

    @settings(deadline=None, max_examples=200)
    @given(time=st.datetimes(min_value=datetime(2, 1, 1), max_value=datetime(9998, 1, 1), timezones=st.timezones()))  # noqa: DTZ001 - Hypothesis wants it naive
    def test_any_zone_becomes_the_same_moment(self, time: datetime) -> None:
        """Also through the gaps and folds of daylight saving."""
        result = utc_from(time)
        assert result.tzinfo is UTC
        assert result == time.astimezone(UTC)
        assert utc_from(time.astimezone(UTC).isoformat()) == result

    def test_a_fold_is_told_apart_by_its_offset(self) -> None:
        """The hour that comes twice is two different hours."""
        first = datetime(2026, 11, 1, 1, 30, tzinfo=ZoneInfo("America/New_York"), fold=0)
        again = first.replace(fold=1)
        assert timedelta(hours=1) == utc_from(again.isoformat()) - utc_from(first.isoformat())

    def test_a_zone_with_seconds_is_exact(self) -> None:
        """Offsets of local mean time."""
        zone = timezone(timedelta(hours=-4, minutes=-56, seconds=-2))
        assert utc_from("2026-03-02T14:00:00-04:56:02") == datetime(2026, 3, 2, 14, tzinfo=zone)

    def test_milliseconds_before_1970_are_rounded_down(self) -> None:
        """Half a millisecond before the epoch is in the millisecond before it."""
        assert utc_from(-0.5) == datetime(1969, 12, 31, 23, 59, 59, 999500, tzinfo=UTC)

    def test_a_date_is_no_time(self) -> None:
        """Only text, numbers and datetimes are read."""
        with pytest.raises(CoercionError):
            utc_from(date(2026, 3, 2))

    @pytest.mark.parametrize(
        ("ahead", "counts_as_now"),
        [(timedelta(minutes=5), False), (timedelta(minutes=5, microseconds=1), True), (timedelta(days=-400), False)],
    )
    def test_a_time_far_ahead_counts_as_now(self, ahead: timedelta, counts_as_now: bool) -> None:  # noqa: FBT001 - a table
        """A future time must not shut out later changes [settled point 24]."""
        now = datetime(2026, 3, 2, tzinfo=UTC)
        assert (now if counts_as_now else now + ahead) == observation_time(now + ahead, now)
