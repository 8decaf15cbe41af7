"""The studies the page holds: each in a private folder under an unguessable id, until nobody asks about it.

Everything lies below one temporary folder that only this user can enter and that is gone when the server ends.
"""

from __future__ import annotations

import secrets
import shutil
import tempfile
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from ..errors import UsageError
from ..io import Found, Item, discover
from ..limits import MAX_STUDIES, STUDY_SECONDS
from ..modality import identified
from ..volume import Volume


@dataclass
class Study:
    """What came with one upload.

    Attributes:
        id: unguessable; knowing it is what admits to the study.
        folder: private; the upload, and what is made of it.
        found: the volumes in it, and what could not be used.
        used: when it was last asked about, on the monotonic clock.
    """

    id: str
    folder: Path
    found: Found
    used: float
    _volumes: dict[int | tuple[int, str], Volume] = field(default_factory=dict, repr=False)
    _lock: threading.Lock = field(default_factory=threading.Lock, repr=False)

    def item(self, series: int) -> Item:
        """One of its volumes, by its number.

        Raises:
            UsageError: code `gone`, there is none.
        """
        if not 0 <= series < len(self.found.items):
            raise gone("series")
        return self.found.items[series]

    def volume(self, series: int, modality: str = "") -> Volume:
        """A volume opened, its modality settled where the file or the user says it; opened once.

        Args:
            modality: "ct", "mr" or nothing, for files that do not say it.

        Raises:
            UsageError: codes `gone`, `modality`.
            InputError: it cannot be read.
        """
        item = self.item(series)
        with self._lock:
            if series not in self._volumes:
                self._volumes[series] = item.open()
            key = (series, modality)
            if key not in self._volumes:
                self._volumes[key] = _settled(self._volumes[series], modality)
            return self._volumes[key]


class Desk:
    """All studies of one server; safe to use from several threads.

    Args:
        on_removed: called with the id of a study that goes, before its files do.
        most: studies held at a time.
        seconds: how long one is held that nobody asks about.
    """

    def __init__(
        self,
        on_removed: Callable[[str], None] = lambda _: None,
        most: int = MAX_STUDIES,
        seconds: float = STUDY_SECONDS,
    ) -> None:
        # Mode 0700: mkdtemp makes a folder that only this user can enter.
        self._root = tempfile.TemporaryDirectory(prefix="mesr-web-")
        self._on_removed = on_removed
        self._most = most
        self._seconds = seconds
        self._studies: dict[str, Study] = {}
        self._lock = threading.Lock()

    @property
    def folder(self) -> Path:
        """The private folder of all of them."""
        return Path(self._root.name)

    def reserve(self) -> tuple[str, Path]:
        """An id and an empty folder for an upload."""
        name = secrets.token_urlsafe(24)
        folder = self.folder / name
        folder.mkdir(mode=0o700)
        return name, folder

    def add(self, name: str, folder: Path, places: list[Path]) -> Study:
        """Find what is in an upload and hold it; studies unused the longest make room.

        Args:
            name, folder: from `reserve`.
            places: files and folders to look in.
        """
        study = Study(name, folder, discover(places, folder), time.monotonic())
        with self._lock:
            self._studies[name] = study
        self.sweep()
        return study

    def sweep(self) -> None:
        """Let go what is too many, those unused the longest first, and what nobody asked about for long."""
        now = time.monotonic()
        with self._lock:
            by_age = sorted(self._studies.values(), key=lambda one: one.used)
        surplus = len(by_age) - self._most
        for n, one in enumerate(by_age):
            if n < surplus or now - one.used > self._seconds:
                self.remove(one.id)

    def study(self, name: str) -> Study:
        """A study by its id.

        Raises:
            UsageError: code `gone`.
        """
        with self._lock:
            found = self._studies.get(name)
            if found is None:
                raise gone("study")
            found.used = time.monotonic()
            return found

    def remove(self, name: str) -> None:
        """Let a study go, with all its files; one that is gone already is no error."""
        with self._lock:
            found = self._studies.pop(name, None)
        if found is not None:
            self._on_removed(found.id)
            shutil.rmtree(found.folder, ignore_errors=True)

    def close(self) -> None:
        """Let everything go."""
        with self._lock:
            self._studies.clear()
        self._root.cleanup()


def gone(what: str) -> UsageError:
    """What is said of something that is not, or no longer, here."""
    return UsageError("gone", f"The {what} is not here any more.", "Open the files again.")


def _settled(volume: Volume, modality: str) -> Volume:
    """With its modality as the file or the user says or the values tell; without one where nothing does."""
    try:
        return identified(volume, modality or None)
    except UsageError as error:
        if error.code != "modality-needed":
            raise
        return volume
