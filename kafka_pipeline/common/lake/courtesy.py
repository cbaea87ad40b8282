"""Room between commits: how the writers of one table keep from starving each other.

Delta commits optimistically. Whoever commits first wins, and every merge that was under way meanwhile is done again. A
writer whose merges take longer than the pauses of the others loses for as long as they have work, and they see nothing
of it: their commits follow each other undisturbed. So whoever has seen another writer leaves room for one.
"""

from __future__ import annotations

from typing import Final

ROOM: Final = 3.0
"""Times the duration of its own commit that a writer leaves the table alone for each commit of another.

With less, a merge that is longer than those of the others still loses most of its races
(`test_a_writer_of_large_flushes_does_not_starve_beside_writers_of_small_ones`); with more, fewer commits are made.
"""

MEMORY_S: Final = 60.0
"""How long after the last commit of another writer there is room for one: who loses every race commits nothing."""


class Courtesy:
    """What one writer of a table remembers of the others. A writer that is alone never waits."""

    def __init__(self, *, longest_s: float) -> None:
        self._longest_s = longest_s
        self._shared_until_s = 0.0

    def room_s(self, commit_s: float, *, others: int, since_s: float, now_s: float, jitter: float) -> float:
        """Return how long to leave the table alone after a commit that took `commit_s` and ended at `now_s`.

        `others` is how many commits other writers made in the `since_s` since the last one of this writer. Of a longer
        time than `longest_s` only a part counts: what they did an hour ago says little of now. The wait is jittered
        (0..1) by a half either way, so that writers do not fall into step, and `longest_s` at most.

        >>> courtesy = Courtesy(longest_s=10.0)
        >>> courtesy.room_s(0.25, others=0, since_s=1.5, now_s=100.0, jitter=0.5)
        0.0
        >>> courtesy.room_s(0.25, others=2, since_s=1.5, now_s=101.5, jitter=0.5)
        1.5
        >>> courtesy.room_s(0.25, others=0, since_s=1.5, now_s=103.0, jitter=0.5)
        0.75
        """
        if others:
            self._shared_until_s = now_s + MEMORY_S
        commits = others * min(1.0, self._longest_s / since_s) if since_s > 0 else float(others)
        if now_s < self._shared_until_s:
            commits = max(commits, 1.0)
        return min(self._longest_s, ROOM * commit_s * commits * (0.5 + jitter))
