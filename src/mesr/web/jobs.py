"""Whole studies in the background, one at a time, each through `mesr.job.run`."""

from __future__ import annotations

import logging
import secrets
import shutil
import threading
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from .. import job
from ..errors import MesrError, TooLarge, UsageError
from ..geometry import Geometry
from ..grid import Target
from ..io import output_path
from ..limits import MAX_PAGE_VOXELS, MAX_RESULTS
from .session import Study, gone

State = Literal["waiting", "running", "done", "refused", "failed", "stopped"]

_log = logging.getLogger(__name__)


@dataclass
class Work:
    """One study being done.

    Attributes:
        id: unguessable.
        study, series: what is done.
        target, settings: how.
        folder: private; the result goes there.
        count: slices in all; `done` of them are written.
        outcome: in the end.
    """

    id: str
    study: Study
    series: int
    target: Target
    settings: job.Settings
    folder: Path
    count: int
    done: int = 0
    state: State = "waiting"
    outcome: job.Outcome | None = None
    stop: threading.Event = field(default_factory=threading.Event, repr=False)
    lock: threading.Lock = field(default_factory=threading.Lock, repr=False)


class Jobs:
    """The work of one server.

    Args:
        most_voxels: of a result.
        most: works of one study; finished ones make room, the oldest first.
    """

    def __init__(self, most_voxels: int = MAX_PAGE_VOXELS, most: int = MAX_RESULTS) -> None:
        self._most_voxels = most_voxels
        self._most = most
        self._works: dict[str, Work] = {}
        self._pool = ThreadPoolExecutor(1, "mesr-job")
        self._futures: dict[str, Future[None]] = {}
        self._lock = threading.Lock()

    def submit(self, study: Study, series: int, target: Target, settings: job.Settings) -> Work:
        """Queue a study's series; its result stays in its format where that is DICOM, else becomes NIfTI.

        Raises:
            UsageError: the target makes no sense, or code `gone`.
            TooLarge: code `result-too-large` or `too-many-results`, or beyond a limit.
            InputError: it cannot be read.
        """
        item = study.item(series)
        geometry = study.volume(series).geometry
        self._check(geometry, target)
        self._make_room(study.id)
        name = secrets.token_urlsafe(24)
        folder = study.folder / name
        folder.mkdir(mode=0o700)
        work = Work(name, study, series, target, settings, folder, item.size[0])
        with self._lock:
            self._works[name] = work
            self._futures[name] = self._pool.submit(self._run, work)
        return work

    def work(self, name: str) -> Work:
        """A work by its id.

        Raises:
            UsageError: code `gone`.
        """
        found = self._works.get(name)
        if found is None:
            raise gone("result")
        return found

    def stop(self, name: str) -> None:
        """Have a work end after the slice it is at."""
        self.work(name).stop.set()

    def remove(self, name: str) -> None:
        """Stop a work and let it go with its files, once the slice at hand is done; one that is gone is no error."""
        with self._lock:
            work, future = self._works.pop(name, None), self._futures.pop(name, None)
        if work is None or future is None:
            return
        work.stop.set()
        if not future.cancel():
            future.exception()
        # Not while a download of it is being made.
        with work.lock:
            work.outcome = None
            shutil.rmtree(work.folder, ignore_errors=True)

    def forget(self, study: str) -> None:
        """Let all works of a study go."""
        works = self._of(study)
        for work in works:
            work.stop.set()
        for work in works:
            self.remove(work.id)

    def close(self) -> None:
        """Stop everything; returns when the slice at hand is done."""
        with self._lock:
            for work in self._works.values():
                work.stop.set()
        self._pool.shutdown(cancel_futures=True)

    def _of(self, study: str) -> list[Work]:
        """A study's works, the oldest first."""
        with self._lock:
            return [work for work in self._works.values() if work.study.id == study]

    def _make_room(self, study: str) -> None:
        works = self._of(study)
        surplus = len(works) - self._most + 1
        finished = [work for work in works if work.state not in ("waiting", "running")]
        for work in finished[: max(0, surplus)]:
            self.remove(work.id)
        if len(self._of(study)) >= self._most:
            raise TooLarge(
                "too-many-results",
                f"A study may have {self._most} results under way.",
                "Wait for one of them, or stop it.",
            )

    def _check(self, geometry: Geometry, target: Target) -> None:
        size = target.grid(geometry.size, geometry.spacing if geometry.known else None).size_out
        if size[0] * size[1] * size[2] > self._most_voxels:
            raise TooLarge(
                "result-too-large",
                f"The result would have {size[2]}×{size[1]}×{size[0]} voxels, more than the page computes.",
                "Use mesr upscale for it.",
            )

    def _run(self, work: Work) -> None:
        def on_slice(done: int, count: int) -> None:
            work.done = done
            if work.stop.is_set() and done < count:
                raise UsageError("stopped", "The work was stopped.")

        if work.stop.is_set():
            work.state = "stopped"
            return
        work.state = "running"
        item = work.study.item(work.series)
        settings = work.settings
        outcome = job.run(
            item,
            work.target,
            output_path(work.folder, item, format=settings.format),
            settings,
            on_slice=on_slice,
        )
        work.outcome = outcome
        stopped = isinstance(outcome.error, MesrError) and outcome.error.code == "stopped"
        work.state = "stopped" if stopped else outcome.status
        _log.info("A study of %d slices: %s, %.1f s.", work.count, work.state, outcome.seconds["total"])
