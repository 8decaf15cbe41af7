"""The work: which series are complete, and what `job` makes of them, one at a time.

Waits are measured on the monotonic clock and kept in memory, so that a clock that is set does neither hurry nor hold up
a series; after a restart they begin anew.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from .. import job
from ..errors import MesrError, MissingExtra, OutputError, WeightsError
from ..inference import Options
from .backoff import Backoff
from .config import NodeConfig, Rule
from .counters import Counters
from .facts import Facts, read_facts
from .rules import match
from .spool import Spool
from .store import CRASHED, Entry, State, Store

MEMORY_ATTEMPTS = 3
"""How often a series that does not fit the memory is tried; a node is seldom alone on its machine."""

log = logging.getLogger("mesr.node")


class Stopped(BaseException):
    """Ends a job in its midst, past `job.run`'s care for exceptions. Nothing of it stays; the series waits again."""


@dataclass(frozen=True)
class Verdict:
    """What came of a series: its new state, the code that explains it, and the files that were made.

    Attributes:
        state: "waiting" where it is to be tried again.
    """

    state: State
    code: str = ""
    files: tuple[Path, ...] = ()


class Worker:
    """Completes series and does their work.

    Args:
        config: rules and waits.
        spool, store: where series lie.
        counters: what is counted.
    """

    def __init__(self, config: NodeConfig, spool: Spool, store: Store, counters: Counters) -> None:
        self._config, self._spool, self._store, self._counters = config, spool, store, counters
        self._heard: dict[str, float] = {}
        self._lock = threading.Lock()
        self._backoff = Backoff(config.retry.first_seconds, config.retry.most_seconds)
        self._broken_off = False
        """Whether the last step ended with an error of the disk, and may have left a series running."""
        self.stop = threading.Event()
        """Set to take no further series."""
        self.give_up = threading.Event()
        """Set to leave the one that is being worked on, at its next slice."""

    def heard(self, series: str) -> None:
        """Something of a series came just now."""
        with self._lock:
            self._heard[series] = time.monotonic()

    def recover(self) -> None:
        """Take up what a process that ended left; a series that has ended more than one waits, to do it less often."""
        self._store.recover()
        for entry in self._store.entries("waiting"):
            if entry.code == CRASHED and entry.attempts > 1:
                wait = self._backoff.fail(entry.id, entry.attempts - 1)
                log.warning(
                    "series %s: %d attempts ended with the process, next in %.0f s",
                    entry.short, entry.attempts, wait,
                )  # fmt: skip

    def step(self) -> bool:
        """Complete what is complete and do the work of one series; False where there was none to do.

        Raises:
            OSError, sqlite3.Error: the disk is full or fails. The next call takes up what this one left.
        """
        if self._broken_off:
            self.recover()
            self._broken_off = False
        self._complete()
        for entry in self._store.entries("waiting"):
            if self.stop.is_set():
                return False
            if self._backoff.waits(entry.id):
                continue
            self._broken_off = True
            claimed = self._store.claim(entry)
            if claimed:
                self._work(entry)
            self._broken_off = False
            if claimed:
                return True
        return False

    def tidy(self) -> None:
        """Delete series that are done with and were kept as long as they should be."""
        end = time.time() - self._config.keep_hours * 3600
        for entry in self._store.entries("made", "ignored"):
            if entry.unsent or entry.since > end:
                continue
            # Nothing may arrive for it between the two.
            with self._store.lock:
                folders = self._store.forget(entry)
                if folders is None:
                    continue
                self._spool.remove(entry.id, folders)
            with self._lock:
                self._heard.pop(entry.id, None)
            log.info("series %s: deleted after its time", entry.short)

    def _complete(self) -> None:
        """By count at once, by quiet when nothing has come for long enough."""
        now = time.monotonic()
        for entry in self._store.entries("receiving"):
            with self._lock:
                quiet = now - self._heard.setdefault(entry.id, now)
            whole = entry.expected is not None and entry.objects >= entry.expected
            if (whole or quiet >= self._config.quiet_seconds) and self._store.complete(entry):
                log.info(
                    "series %s: complete by %s, %d objects",
                    entry.short, "count" if whole else "quiet", entry.objects,
                )  # fmt: skip

    def _work(self, entry: Entry) -> None:
        began = time.monotonic()
        try:
            rule, verdict = self._made(entry)
        except Stopped:
            self._store.finish(entry, "waiting")
            log.info("series %s: left for the next start", entry.short)
            return
        self._counters.add("job_seconds_total", time.monotonic() - began)
        if not self._end(entry, rule, verdict):
            log.info("series %s: another object came while it was worked on", entry.short)
            return
        self._counters.add("jobs_total", state=verdict.state)
        log.log(
            logging.INFO if verdict.state in ("made", "ignored") else logging.WARNING,
            "series %s: %s%s, rule %s, %d files, %.1f s",
            entry.short, verdict.state, f" ({verdict.code})" if verdict.code else "",
            rule.name if rule else "none", len(verdict.files), time.monotonic() - began,
        )  # fmt: skip

    def _made(self, entry: Entry) -> tuple[Rule | None, Verdict]:
        """Super-resolve a series by the rule for it."""
        folder = self._spool.series / entry.id
        try:
            facts = self._facts(folder)
        except (MesrError, OSError) as error:
            return None, Verdict("failed", error.code if isinstance(error, MesrError) else "unreadable")
        if facts.ours:
            return None, Verdict("ignored", "own-result")
        rule = match(self._config.rules, facts, entry.calling, entry.called)
        if rule is None:
            return None, Verdict("ignored", "no-rule")
        compute = Options(device=self._config.device, precision=self._config.precision)
        settings = job.Settings(
            model=rule.model,
            # Every archive takes single-frame images, and not every one Enhanced objects.
            format="dicom-classic",
            force=True,
            keep_private=self._config.keep_private,
            compute=compute,
        )
        found = job.discover([folder])
        out = self._spool.results / result_name(entry)
        outcomes = list(job.run_all(found, rule.target, out, settings, on_slice=self._on_slice))
        return rule, self._judged(entry, outcomes)

    def _facts(self, folder: Path) -> Facts:
        """Of one object of the series, always the same."""
        return read_facts(min(folder.iterdir()))

    def _on_slice(self, done: int, count: int) -> None:
        if self.give_up.is_set():
            raise Stopped

    def _judged(self, entry: Entry, outcomes: Sequence[job.Outcome]) -> Verdict:
        """One verdict on a series, which may hold several volumes."""
        errors = [outcome.error for outcome in outcomes if outcome.error is not None]
        codes = [error.code for error in errors]
        if any(isinstance(error, OutputError) and error.code == "unwritable" for error in errors):
            return Verdict("waiting", "unwritable")
        if "memory" in codes and entry.attempts + 1 < MEMORY_ATTEMPTS:
            return Verdict("waiting", "memory")
        files = tuple(path for outcome in outcomes for path in outcome.outputs)
        if files:
            return Verdict("made", codes[0] if codes else "", files)
        if any(outcome.status == "failed" for outcome in outcomes):
            return Verdict("failed", "internal")
        if any(isinstance(error, WeightsError | MissingExtra) for error in errors):
            return Verdict("failed", codes[0])
        return Verdict("refused", "memory" if "memory" in codes else codes[0])

    def _end(self, entry: Entry, rule: Rule | None, verdict: Verdict) -> bool:
        name = rule.name if rule else ""
        if verdict.state == "made":
            assert rule is not None
            to = rule.destinations or [one.name for one in self._config.destinations]
            folder = result_name(entry)
            files = [path.relative_to(self._spool.results / folder).as_posix() for path in verdict.files]
            return self._store.made(entry, folder, files, to, rule=name, code=verdict.code)
        if verdict.state == "waiting":
            self._backoff.fail(entry.id, entry.attempts + 1)
        return self._store.finish(entry, verdict.state, verdict.code, name)


def result_name(entry: Entry) -> str:
    """The folder of what is made of a series' revision."""
    return f"{entry.id}-{entry.objects}"
