"""The node's queue: every series, where it stands, and which result has still to go where, in one SQLite file.

Each step is one transaction that is on the disk when it returns (WAL, synchronous FULL), so that a killed process is
found again as it was after its last whole step. `mesr node status` reads beside the node that runs.

A series is **receiving** until it is complete, **waiting** for its turn, **running**, and then **made**, **ignored**
(no rule for it), **refused** (it cannot be super-resolved) or **failed** (our fault, or the configuration's). One more
object, at whatever time, makes it receiving again. How many objects it has is its revision: a result is of a revision,
and one that was being made of an older one is thrown away.
"""

from __future__ import annotations

import contextlib
import sqlite3
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from ..errors import InputError, MesrError, UsageError

State = Literal["receiving", "waiting", "running", "made", "ignored", "refused", "failed"]
STATES: tuple[State, ...] = ("receiving", "waiting", "running", "made", "ignored", "refused", "failed")
CRASHED = "crashed"
"""The code of a series whose work ended with its process."""
FORMAT = 1
_SCHEMA = """
CREATE TABLE series (
    id TEXT PRIMARY KEY, state TEXT NOT NULL, objects INTEGER NOT NULL, expected INTEGER,
    attempts INTEGER NOT NULL, calling TEXT NOT NULL, called TEXT NOT NULL,
    rule TEXT NOT NULL, code TEXT NOT NULL, since REAL NOT NULL
) STRICT;
CREATE TABLE objects (series TEXT NOT NULL, name TEXT NOT NULL, PRIMARY KEY (series, name)) STRICT, WITHOUT ROWID;
CREATE TABLE results (folder TEXT PRIMARY KEY, series TEXT NOT NULL, since REAL NOT NULL) STRICT;
CREATE TABLE deliveries (
    id INTEGER PRIMARY KEY, result TEXT NOT NULL, destination TEXT NOT NULL, file TEXT NOT NULL,
    sent INTEGER NOT NULL, tries INTEGER NOT NULL, reason TEXT NOT NULL
) STRICT;
CREATE INDEX unsent ON deliveries (destination, tries, id) WHERE NOT sent;
CREATE INDEX by_result ON deliveries (result);
"""


@dataclass(frozen=True)
class Arrival:
    """An object that was received.

    Attributes:
        series, name: hashes of its identifiers.
        calling, called: AE titles of its association.
        expected: objects of its series, where that is known.
    """

    series: str
    name: str
    calling: str
    called: str
    expected: int | None


@dataclass(frozen=True)
class Entry:
    """A series in the queue.

    Attributes:
        id: hash of its identifiers and the called AE title.
        objects: how many there are; the revision.
        expected: how many there should be, where that is known.
        attempts: times its work began and did not end.
        rule: by which a result was made last.
        code: of the error it ended with; for one that is made, of what of it was refused.
        since: when it came into its state, seconds of the wall clock.
        unsent: files of its results that some destination has not got.
        results: their number.
    """

    id: str
    state: State
    objects: int
    expected: int | None
    attempts: int
    calling: str
    called: str
    rule: str
    code: str
    since: float
    unsent: int = 0
    results: int = 0

    @property
    def short(self) -> str:
        """The id as logs and the overview show it."""
        return self.id[:12]


@dataclass(frozen=True)
class Delivery:
    """A file that a destination has not got: `file` within the folder `result` of the spool's results."""

    id: int
    result: str
    file: str


class Store:
    """The queue in a file, made where it is not there. Safe for threads.

    Raises:
        InputError: code `queue-format`; the file is of another version, or damaged.
    """

    def __init__(self, path: Path) -> None:
        self.lock = threading.RLock()
        """Held over what must be one step with files: nothing arrives while it is."""
        self._path = path
        self._database = sqlite3.connect(path, timeout=10, isolation_level=None, check_same_thread=False)
        try:
            self._database.execute("PRAGMA journal_mode = WAL")
            self._database.execute("PRAGMA synchronous = FULL")
            with self._step():
                (version,) = self._database.execute("PRAGMA user_version").fetchone()
                if version == 0:
                    for statement in filter(str.strip, _SCHEMA.split(";")):
                        self._database.execute(statement)
                    self._database.execute(f"PRAGMA user_version = {FORMAT}")
        except sqlite3.DatabaseError:
            raise self._unusable() from None
        if version not in (0, FORMAT):
            raise self._unusable()

    def close(self) -> None:
        """Close the file."""
        with self.lock:
            self._database.close()

    # What arrives.

    def has(self, series: str, name: str) -> bool:
        """Whether the object is here already."""
        return bool(self._rows("SELECT 1 FROM objects WHERE series = ? AND name = ?", series, name))

    def add(self, arrival: Arrival, settle: Callable[[], Path]) -> bool:
        """Take an object in, which makes its series receiving; False where it was here already.

        Args:
            arrival: the object.
            settle: puts its file into its place; called before the step ends.

        Raises:
            OSError, sqlite3.Error: there is no room. Nothing was taken in.
        """
        with self.lock:
            if self.has(arrival.series, arrival.name):
                return False
            place = settle()
            try:
                with self._step():
                    self._add(arrival)
            except BaseException:
                place.unlink(missing_ok=True)
                raise
        return True

    def _add(self, arrival: Arrival) -> None:
        self._database.execute(
            "INSERT INTO series VALUES (?, 'receiving', 0, NULL, 0, ?, ?, '', '', ?) ON CONFLICT DO NOTHING",
            (arrival.series, arrival.calling, arrival.called, time.time()),
        )
        self._database.execute("INSERT INTO objects VALUES (?, ?)", (arrival.series, arrival.name))
        self._database.execute(
            "UPDATE series SET since = CASE state WHEN 'receiving' THEN since ELSE ? END, state = 'receiving',"
            " objects = objects + 1, expected = coalesce(?, expected), attempts = 0, code = '' WHERE id = ?",
            (time.time(), arrival.expected, arrival.series),
        )

    def complete(self, entry: Entry) -> bool:
        """A series that was receiving waits for its turn, unless one more object has come since it was looked at."""
        with self._step():
            done = self._database.execute(
                "UPDATE series SET state = 'waiting', since = ? WHERE id = ? AND state = 'receiving' AND objects = ?",
                (time.time(), entry.id, entry.objects),
            )
            return done.rowcount == 1

    # What is made of it.

    def claim(self, entry: Entry) -> bool:
        """Begin the work on a series that waits; the attempt is counted before it is made."""
        with self._step():
            done = self._database.execute(
                "UPDATE series SET state = 'running', attempts = attempts + 1, since = ?"
                " WHERE id = ? AND state = 'waiting' AND objects = ?",
                (time.time(), entry.id, entry.objects),
            )
            return done.rowcount == 1

    def finish(self, entry: Entry, state: State, code: str = "", rule: str = "") -> bool:
        """End the work on the revision `entry`; False where another object has come in the meantime."""
        with self._step():
            return self._finish(entry, state, code, rule)

    def made(
        self,
        entry: Entry,
        folder: str,
        files: Sequence[str],
        destinations: Iterable[str],
        *,
        rule: str,
        code: str,
    ) -> bool:
        """End the work on the revision `entry` with a result that is to go to `destinations`; False as `finish`."""
        with self._step():
            if not self._finish(entry, "made", code, rule):
                return False
            self._database.execute("INSERT INTO results VALUES (?, ?, ?)", (folder, entry.id, time.time()))
            self._database.executemany(
                "INSERT INTO deliveries (result, destination, file, sent, tries, reason) VALUES (?, ?, ?, 0, 0, '')",
                [(folder, destination, file) for destination in destinations for file in files],
            )
            return True

    def _finish(self, entry: Entry, state: State, code: str, rule: str) -> bool:
        # What is put back for a reason was an attempt; what was left because the node stops was none.
        kept = "attempts" if state == "waiting" and code else "0"
        done = self._database.execute(
            f"UPDATE series SET state = ?, code = ?, rule = ?, since = ?, attempts = {kept}"
            " WHERE id = ? AND state = 'running' AND objects = ?",
            (state, code, rule, time.time(), entry.id, entry.objects),
        )
        return done.rowcount == 1

    def recover(self) -> int:
        """Put the work of a process that ended in the midst of it back into the queue; how many there were."""
        with self._step():
            found = self._database.execute(
                "UPDATE series SET state = 'waiting', code = ? WHERE state = 'running'", (CRASHED,)
            )
            return found.rowcount

    # What goes out.

    def unsent(self, destination: str, limit: int) -> list[Delivery]:
        """The next files for a destination; those it has refused, or not answered, come last."""
        rows = self._rows(
            "SELECT id, result, file FROM deliveries WHERE NOT sent AND destination = ? ORDER BY tries, id LIMIT ?",
            destination,
            limit,
        )
        return [Delivery(*row) for row in rows]

    def delivered(self, sent: Iterable[Delivery], refused: Iterable[tuple[Delivery, str]] = ()) -> None:
        """A destination has answered: these it has, these it did not take, for a reason in a word."""
        with self._step():
            self._database.executemany(
                "UPDATE deliveries SET sent = 1, reason = '' WHERE id = ?", [(one.id,) for one in sent]
            )
            self._database.executemany(
                "UPDATE deliveries SET tries = tries + 1, reason = ? WHERE id = ?",
                [(reason, one.id) for one, reason in refused],
            )

    # What there is.

    def entries(self, *states: State) -> list[Entry]:
        """The series in these states, or in any; those with the fewest attempts first, then the longest there."""
        marks = ", ".join("?" * len(states))
        rows = self._rows(
            "SELECT s.id, s.state, s.objects, s.expected, s.attempts, s.calling, s.called, s.rule, s.code, s.since,"
            " count(CASE WHEN NOT d.sent THEN 1 END), count(DISTINCT r.folder)"
            " FROM series s LEFT JOIN results r ON r.series = s.id LEFT JOIN deliveries d ON d.result = r.folder"
            f" {f'WHERE s.state IN ({marks})' if states else ''} GROUP BY s.id ORDER BY s.attempts, s.since, s.id",
            *states,
        )
        return [Entry(*row) for row in rows]

    def counts(self) -> dict[State, int]:
        """How many series are in each state."""
        found = dict(self._rows("SELECT state, count(*) FROM series GROUP BY state"))
        return {state: found.get(state, 0) for state in STATES}

    def backlog(self) -> dict[str, int]:
        """How many files each destination has not got; none is named that has all."""
        return dict(
            self._rows("SELECT destination, count(*) FROM deliveries WHERE NOT sent GROUP BY destination")
        )

    def refusals(self) -> dict[str, int]:
        """Why destinations would not take files, and how many wait for that reason."""
        return dict(
            self._rows(
                "SELECT reason, count(*) FROM deliveries WHERE NOT sent AND reason != '' GROUP BY reason"
            )
        )

    def names(self, series: str) -> frozenset[str]:
        """The names of a series' objects."""
        return frozenset(name for (name,) in self._rows("SELECT name FROM objects WHERE series = ?", series))

    def results(self, series: str | None = None) -> list[str]:
        """The folders of a series' results, or of all."""
        if series is None:
            return [folder for (folder,) in self._rows("SELECT folder FROM results")]
        return [folder for (folder,) in self._rows("SELECT folder FROM results WHERE series = ?", series)]

    # What an operator does.

    def find(self, start: str) -> Entry:
        """The series whose id begins so.

        Raises:
            UsageError: code `no-such-series`; none does, or several do.
        """
        found = [entry for entry in self.entries() if start and entry.id.startswith(start)]
        if len(found) != 1:
            count = "none" if not found else f"{len(found)}"
            raise UsageError(
                "no-such-series", f"One series with that identifier was expected, found {count}.",
                "mesr node status lists them.",
            )  # fmt: skip
        return found[0]

    def retry(self, entry: Entry) -> bool:
        """Let a series that was ignored, refused or failed wait for its turn again."""
        with self._step():
            done = self._database.execute(
                "UPDATE series SET state = 'waiting', attempts = 0, code = '', since = ?"
                " WHERE id = ? AND state IN ('ignored', 'refused', 'failed')",
                (time.time(), entry.id),
            )
            return done.rowcount == 1

    def forget(self, entry: Entry) -> list[str] | None:
        """Take a series out, unless it has changed since `entry`.

        Returns:
            The folders of its results, which are to be removed with its objects; None where it has changed.
        """
        with self._step():
            folders = self.results(entry.id)
            done = self._database.execute(
                "DELETE FROM series WHERE id = ? AND state = ? AND objects = ?",
                (entry.id, entry.state, entry.objects),
            )
            if done.rowcount == 0:
                return None
            self._database.execute("DELETE FROM objects WHERE series = ?", (entry.id,))
            for folder in folders:
                self._database.execute("DELETE FROM deliveries WHERE result = ?", (folder,))
            self._database.execute("DELETE FROM results WHERE series = ?", (entry.id,))
        return folders

    def _rows(self, query: str, *values: object) -> list[Any]:
        with self.lock:
            return self._database.execute(query, values).fetchall()

    @contextlib.contextmanager
    def _step(self) -> Iterator[None]:
        """One transaction: all of it is on the disk at the end, or none of it."""
        with self.lock:
            self._database.execute("BEGIN IMMEDIATE")
            try:
                yield
                self._database.execute("COMMIT")
            except BaseException:
                # SQLite has rolled back by itself where the disk is full.
                if self._database.in_transaction:
                    self._database.execute("ROLLBACK")
                raise

    def _unusable(self) -> MesrError:
        self._database.close()
        return InputError(
            "queue-format",
            "The queue in the spool is damaged or of another version.",
            "Take another spool, or move this one away.",
            self._path,
        )
