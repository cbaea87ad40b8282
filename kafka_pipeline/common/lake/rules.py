"""How a column's new value follows from the stored row and the arriving one.

A rule holds both of its forms side by side: `fold` for two rows in memory (rows of one batch with equal keys) and `sql`
for a stored row and an arriving one (the MERGE). `test_rules.py` proves on real Delta that the two agree.

In both, `t` is the row that is there and `s` the one that comes. A null means "not carried" [MRG-1]. The row guard
[MRG-2] says when `s` is older than `t`:

    older(t, s) = t.clock is not null and (s.clock is null or s.clock < t.clock)

| rule       | s older            | s not older        | independent of order |
|------------|--------------------|--------------------|----------------------|
| Newest     | t, else s          | s, else t          | but for a filled null, see below |
| Guarded    | t                  | s, else t          | no |
| Winner     | t, even if null    | s, even if null    | yes, unless clocks are equal |
| Kept       | t, else s          | t, else s          | no: first come |
| Earliest   | the lesser         | the lesser         | yes |
| Latest     | the greater        | the greater        | yes |
| Weak       | a strong value beats a weak one; among equals as Newest         | as Newest |
| OwnClock   | the value with the later own clock, ties to the greater value   | yes |
| ClockOf    | the own clock of the value that OwnClock chose                  | yes |

Newest ends with the newest value in any order, as long as rows of one clock value agree and no row that carries null
is newer than two older rows that carry different values. Where three such rows arrive newest first, nothing tells when
the value was observed that filled the null: it stays, where in order of time the later one would have replaced it. That
needs a value that was changed and then cleared, with all three reads under way at once; the next read that carries a
value mends it. To date every column costs more than it saves: an array of times beside 39 columns doubles the time of a
MERGE of 1,000 rows (0.12 s to 0.22 s), nearly all of it planning. So columns that come in any order by nature, since
events tell of them with a time of their own, have the rule OwnClock, and a row that observes none of the guarded
columns carries no clock: it never makes a later answer look older.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TypeAlias

from kafka_pipeline.common.lake.sql import Value, any_of, literal

Row: TypeAlias = Mapping[str, Value]
"""One row by column name. A column that is missing is null."""


@dataclass(frozen=True, slots=True)
class Guard:
    """Tells which of two rows is the older observation, by the table's clock column (None: neither ever is)."""

    clock: str | None

    def older(self, t: Row, s: Row) -> bool:
        """Tell whether `s` was observed before `t`; null counts as oldest [MRG-2]."""
        if self.clock is None:
            return False
        ours, theirs = t.get(self.clock), s.get(self.clock)
        return ours is not None and (theirs is None or bool(theirs < ours))

    def equal(self, t: Row, s: Row) -> bool:
        """Tell whether both were observed at one time; two nulls are equal."""
        return self.clock is None or t.get(self.clock) == s.get(self.clock)

    @property
    def older_sql(self) -> str:
        """The SQL form of `older`; never null."""
        c = self.clock
        return "FALSE" if c is None else f"(t.{c} IS NOT NULL AND (s.{c} IS NULL OR s.{c} < t.{c}))"

    @property
    def equal_sql(self) -> str:
        """The SQL form of `equal`; never null."""
        c = self.clock
        if c is None:
            return "TRUE"
        return f"((t.{c} IS NULL AND s.{c} IS NULL) OR (t.{c} IS NOT NULL AND s.{c} IS NOT NULL AND t.{c} = s.{c}))"


class Rule(ABC):
    """One column's merge rule, in Python and in SQL."""

    __slots__ = ()

    @abstractmethod
    def fold(self, column: str, guard: Guard, t: Row, s: Row) -> Value:
        """Return the column's value after `s` came to `t`."""

    @abstractmethod
    def sql(self, column: str, guard: Guard) -> str:
        """Return the expression over `t` and `s` with the same result."""

    def reads(self) -> tuple[str, ...]:
        """Return the other columns that the rule looks at, beside its own and the guard's."""
        return ()


def _first(*values: Value) -> Value:
    return next((value for value in values if value is not None), None)


@dataclass(frozen=True, slots=True)
class Newest(Rule):
    """The newer row's value; a null never replaces a value, an older row only fills a null [MRG-1, MRG-2]."""

    def fold(self, column: str, guard: Guard, t: Row, s: Row) -> Value:
        """See `Rule.fold`."""
        ours, theirs = t.get(column), s.get(column)
        return _first(ours, theirs) if guard.older(t, s) else _first(theirs, ours)

    def sql(self, column: str, guard: Guard) -> str:
        """See `Rule.sql`."""
        ours, theirs = f"t.{column}", f"s.{column}"
        return f"CASE WHEN {guard.older_sql} THEN COALESCE({ours}, {theirs}) ELSE COALESCE({theirs}, {ours}) END"


@dataclass(frozen=True, slots=True)
class Guarded(Rule):
    """As Newest, but an older row does not even fill a null: a late failure changes nothing of a success [INV-1]."""

    def fold(self, column: str, guard: Guard, t: Row, s: Row) -> Value:
        """See `Rule.fold`."""
        return t.get(column) if guard.older(t, s) else _first(s.get(column), t.get(column))

    def sql(self, column: str, guard: Guard) -> str:
        """See `Rule.sql`."""
        return f"CASE WHEN {guard.older_sql} THEN t.{column} ELSE COALESCE(s.{column}, t.{column}) END"


@dataclass(frozen=True, slots=True)
class Winner(Rule):
    """The newer row's value even if it is null: for columns that belong to the last accepted change as a whole.

    So a success clears the error of an earlier failure [INV-1], and source_event_id names the last change [MRG-5].
    """

    def fold(self, column: str, guard: Guard, t: Row, s: Row) -> Value:
        """See `Rule.fold`."""
        return (t if guard.older(t, s) else s).get(column)

    def sql(self, column: str, guard: Guard) -> str:
        """See `Rule.sql`."""
        return f"CASE WHEN {guard.older_sql} THEN t.{column} ELSE s.{column} END"


@dataclass(frozen=True, slots=True)
class Kept(Rule):
    """The stored value once there is one: created_at survives every merge (I4)."""

    def fold(self, column: str, guard: Guard, t: Row, s: Row) -> Value:
        """See `Rule.fold`."""
        return _first(t.get(column), s.get(column))

    def sql(self, column: str, guard: Guard) -> str:
        """See `Rule.sql`."""
        return f"COALESCE(t.{column}, s.{column})"


@dataclass(frozen=True, slots=True)
class Earliest(Rule):
    """The least non-null value, whatever the guard says [MRG-4]."""

    def fold(self, column: str, guard: Guard, t: Row, s: Row) -> Value:
        """See `Rule.fold`."""
        return min((v for v in (t.get(column), s.get(column)) if v is not None), default=None)

    def sql(self, column: str, guard: Guard) -> str:
        """See `Rule.sql`."""
        return _extreme(column, "<")


@dataclass(frozen=True, slots=True)
class Latest(Rule):
    """The greatest non-null value, whatever the guard says: the clock column itself, and updated_at [MRG-3]."""

    def fold(self, column: str, guard: Guard, t: Row, s: Row) -> Value:
        """See `Rule.fold`."""
        return max((v for v in (t.get(column), s.get(column)) if v is not None), default=None)

    def sql(self, column: str, guard: Guard) -> str:
        """See `Rule.sql`."""
        return _extreme(column, ">")


def _extreme(column: str, better: str) -> str:
    ours, theirs = f"t.{column}", f"s.{column}"
    return (
        f"CASE WHEN {theirs} IS NULL THEN {ours} WHEN {ours} IS NULL THEN {theirs} "
        f"WHEN {theirs} {better} {ours} THEN {theirs} ELSE {ours} END"
    )


@dataclass(frozen=True, slots=True)
class Weak(Rule):
    """Some values are weak: they never replace another value, and any other value replaces them, in any order [MRG-4].

    Among two weak or two strong values the rule is Newest. With `only_at_equal_clock` weakness matters only between
    rows of one clock value (`uploaded` never replaces `completed` of the same download [INV-1]). With `where` it
    matters only in rows whose named column has the value; that column must never change (a part of what a key means).
    """

    values: tuple[str | bool | int, ...]
    only_at_equal_clock: bool = False
    where: tuple[str, str] | None = None

    def fold(self, column: str, guard: Guard, t: Row, s: Row) -> Value:
        """See `Rule.fold`."""
        ours, theirs = t.get(column), s.get(column)
        if ours is not None and theirs is not None and self._applies(guard, t, s):
            if theirs in self.values and ours not in self.values:
                return ours
            if ours in self.values and theirs not in self.values:
                return theirs
        return Newest().fold(column, guard, t, s)

    def sql(self, column: str, guard: Guard) -> str:
        """See `Rule.sql`."""
        ours, theirs = f"t.{column}", f"s.{column}"
        conditions = [f"{ours} IS NOT NULL", f"{theirs} IS NOT NULL"]
        if self.only_at_equal_clock:
            conditions.append(guard.equal_sql)
        if self.where is not None:
            conditions.append(f"t.{self.where[0]} IS NOT NULL AND t.{self.where[0]} = {literal(self.where[1])}")
        applies = " AND ".join(conditions)
        our_weak, their_weak = any_of(ours, self.values), any_of(theirs, self.values)
        return (
            f"CASE WHEN {applies} AND {their_weak} AND NOT {our_weak} THEN {ours} "
            f"WHEN {applies} AND {our_weak} AND NOT {their_weak} THEN {theirs} "
            f"ELSE {Newest().sql(column, guard)} END"
        )

    def reads(self) -> tuple[str, ...]:
        """See `Rule.reads`."""
        return () if self.where is None else (self.where[0],)

    def _applies(self, guard: Guard, t: Row, s: Row) -> bool:
        if self.only_at_equal_clock and not guard.equal(t, s):
            return False
        return self.where is None or t.get(self.where[0]) == self.where[1]


@dataclass(frozen=True, slots=True)
class OwnClock(Rule):
    """Ordered by its own observation time instead of the row guard; a null value never competes.

    The latest non-null observation wins in any order and any batching; equal times are settled by the greater value.
    The time lives in the column `clock`, whose rule must be `ClockOf` this column.
    """

    clock: str

    def fold(self, column: str, guard: Guard, t: Row, s: Row) -> Value:
        """See `Rule.fold`."""
        return (s if _later(column, self.clock, t, s) else t).get(column)

    def sql(self, column: str, guard: Guard) -> str:
        """See `Rule.sql`."""
        return f"CASE WHEN {_later_sql(column, self.clock)} THEN s.{column} ELSE t.{column} END"

    def reads(self) -> tuple[str, ...]:
        """See `Rule.reads`."""
        return (self.clock,)


@dataclass(frozen=True, slots=True)
class ClockOf(Rule):
    """The observation time of the value column that has the rule `OwnClock`: it goes where the value goes."""

    value: str

    def fold(self, column: str, guard: Guard, t: Row, s: Row) -> Value:
        """See `Rule.fold`."""
        return (s if _later(self.value, column, t, s) else t).get(column)

    def sql(self, column: str, guard: Guard) -> str:
        """See `Rule.sql`."""
        return f"CASE WHEN {_later_sql(self.value, column)} THEN s.{column} ELSE t.{column} END"

    def reads(self) -> tuple[str, ...]:
        """See `Rule.reads`."""
        return (self.value,)


def _later(value: str, clock: str, t: Row, s: Row) -> bool:
    ours, theirs = t.get(value), s.get(value)
    if theirs is None or ours is None:
        return theirs is not None
    our_time, their_time = t.get(clock), s.get(clock)
    if our_time == their_time:
        return bool(theirs > ours)
    return our_time is None or (their_time is not None and bool(their_time > our_time))


def _later_sql(value: str, clock: str) -> str:
    ours, theirs, our_time, their_time = f"t.{value}", f"s.{value}", f"t.{clock}", f"s.{clock}"
    return (
        f"CASE WHEN {theirs} IS NULL THEN FALSE WHEN {ours} IS NULL THEN TRUE "
        f"WHEN {our_time} IS NULL AND {their_time} IS NULL THEN {theirs} > {ours} "
        f"WHEN {our_time} IS NULL THEN TRUE WHEN {their_time} IS NULL THEN FALSE "
        f"WHEN {our_time} = {their_time} THEN {theirs} > {ours} ELSE {their_time} > {our_time} END"
    )
