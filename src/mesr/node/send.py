"""What goes out: each destination has a thread, which sends what it has not got until it has it.

A file counts as sent when its receiver has said so. A destination that is down is tried again ever more seldom and
never given up; one file it would not take, or that its association ended on, comes last and holds up no other. What
is sent twice, because a process ended between the answer and its record, has the same UIDs, and is one object there.
"""

from __future__ import annotations

import logging
import sqlite3
import threading
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from .backoff import Backoff
from .config import CStore, Retry, Stow
from .counters import Counters
from .spool import Spool
from .store import Delivery, Store

BATCH = 100
"""Files in one association, and at most so many sent a second time after a crash."""
_POLL_SECONDS = 0.1

log = logging.getLogger("mesr.node")


@dataclass
class Answer:
    """What a destination said.

    Attributes:
        sent: files it has now.
        refused: files it would not take, and why, in a word.
        unanswered: the file that an association ended on, before there was an answer.
        trouble: why not all files were asked about, in a few words; empty where they were.
    """

    sent: list[Path] = field(default_factory=list)
    refused: dict[Path, str] = field(default_factory=dict)
    unanswered: Path | None = None
    trouble: str = ""


class Destination(Protocol):
    """A way out. Whatever goes wrong is told in the answer, and nothing is raised."""

    def send(self, files: Sequence[Path]) -> Answer:
        """Send files, DICOM of this software."""
        ...


def destination(config: CStore | Stow) -> Destination:
    """The way out that a configuration describes.

    Raises:
        UsageError: code `certificate` or `secret`; a file it names cannot be read.
    """
    if isinstance(config, CStore):
        from .cstore import CStoreDestination

        return CStoreDestination(config)
    from .stow import StowDestination

    return StowDestination(config)


class Sender(threading.Thread):
    """Sends to one destination until it is told to stop.

    Args:
        name: of the destination.
        to: the way there.
        retry: how long to wait after a failure.
        spool, store: where the files lie.
        counters: what is counted.
    """

    def __init__(
        self, name: str, to: Destination, retry: Retry, spool: Spool, store: Store, counters: Counters
    ) -> None:
        super().__init__(name=f"node-send-{name}", daemon=True)
        self.destination = name
        self.trouble = ""
        """Why the last attempt failed; empty where it did not."""
        self._to, self._spool, self._store, self._counters = to, spool, store, counters
        self._backoff = Backoff(retry.first_seconds, retry.most_seconds)
        self._failures = 0
        self._stopping = threading.Event()

    def stop(self) -> None:
        """End after what is being sent."""
        self._stopping.set()

    def run(self) -> None:
        while not self._stopping.is_set():
            if self._backoff.waits(self.destination) or not self._guarded_step():
                self._stopping.wait(_POLL_SECONDS)

    def _guarded_step(self) -> bool:
        """A step that ends no thread: without it a destination would be forgotten until the next start."""
        try:
            return self._step()
        except Exception as bug:
            return self._failed(f"an unexpected {type(bug).__name__}", ())

    def _step(self) -> bool:
        """Send the next files; False where there are none, or none got through."""
        waiting = self._store.unsent(self.destination, BATCH)
        if not waiting:
            return False
        by_path = {self._spool.results / one.result / one.file: one for one in waiting}
        answer = self._to.send(list(by_path))
        behind = dict(answer.refused)
        if answer.unanswered is not None:
            # It may be what the association ended of: the others go first next time.
            behind[answer.unanswered] = "no answer"
        try:
            self._store.delivered(
                [by_path[path] for path in answer.sent],
                [(by_path[path], reason) for path, reason in behind.items()],
            )
        except sqlite3.Error:
            # They are sent again, which does no harm.
            return self._failed("the queue could not be written", waiting)
        if answer.sent:
            self._counters.add("objects_sent_total", len(answer.sent), destination=self.destination)
        for reason in answer.refused.values():
            self._counters.add("send_refused_total", destination=self.destination, reason=reason)
        if answer.sent:
            # It lives: what it broke off at is tried again soon, behind the others.
            self._failures = 0
        if answer.trouble or not answer.sent:
            reason = answer.trouble or f"refused with {next(iter(answer.refused.values()), 'nothing')}"
            return self._failed(reason, waiting)
        if self._failures:
            log.info("destination %s: takes objects again", self.destination)
        self._failures, self.trouble = 0, ""
        self._backoff.clear(self.destination)
        return True

    def _failed(self, reason: str, waiting: Sequence[Delivery]) -> bool:
        self._failures += 1
        self.trouble = reason
        wait = self._backoff.fail(self.destination, self._failures)
        self._counters.add("send_failures_total", destination=self.destination)
        log.warning(
            "destination %s: %s, next attempt in %.0f s, %d or more objects wait",
            self.destination, reason, wait, len(waiting),
        )  # fmt: skip
        return False
