"""The node's files: what was received, what was made of it, and the lock that keeps a second node out.

    spool/
      incoming/           objects being written; emptied at a start, for none of them was acknowledged
      series/ID/NAME.dcm  acknowledged objects, under hashes of their identifiers
      results/ID-N/       results of the first N objects of a series
      queue.sqlite        the queue (`store`)
      node.json           process and ports of the node that runs

Everything is readable by its owner alone: it is patient data.
"""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import shutil
import sqlite3
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import BinaryIO

from .. import locks
from ..errors import OutputError, UsageError
from ..files import atomic_path, sync


class Spool:
    """The folder of a node. Made where it is not there.

    Raises:
        OutputError: code `unwritable`.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        self.incoming, self.series, self.results = root / "incoming", root / "series", root / "results"
        self.database, self.about = root / "queue.sqlite", root / "node.json"
        try:
            for folder in (root, self.incoming, self.series, self.results):
                folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            root.chmod(0o700)
        except OSError as error:
            reason = os.strerror(error.errno) if error.errno else "unknown reason"
            raise OutputError("unwritable", f"The spool could not be made: {reason}.", path=root) from None

    def lock(self) -> sqlite3.Connection:
        """Take the spool for this process until the connection is closed or the process ends (`locks.take`).

        Raises:
            UsageError: code `spool-in-use`; another node has it.
        """
        try:
            return locks.take(self.root / "lock.sqlite")
        except BlockingIOError:
            raise UsageError(
                "spool-in-use",
                "Another node works in this spool.",
                "Stop it first, or give each node a spool of its own.",
                self.root,
            ) from None

    def free_bytes(self) -> int:
        """What the file system has left for us."""
        return shutil.disk_usage(self.root).free

    def write_incoming(self, write: Callable[[BinaryIO], object]) -> Path:
        """A new file, on the disk when this returns.

        Raises:
            OSError: there is no room. Nothing is left.
        """
        path = self.incoming / f"{secrets.token_hex(16)}.dcm"
        try:
            with path.open("xb") as file:
                write(file)
                file.flush()
                os.fsync(file.fileno())
        except BaseException:
            path.unlink(missing_ok=True)
            raise
        return path

    def settle(self, path: Path, series: str, name: str) -> Path:
        """Move an incoming file to its series; its name too is on the disk when this returns.

        Raises:
            OSError: it cannot be.
        """
        folder = self.series / series
        if not folder.is_dir():
            folder.mkdir(mode=0o700, exist_ok=True)
            sync(self.series)
        place = folder / f"{name}.dcm"
        path.replace(place)
        sync(folder)
        return place

    def tidy(self, known: Callable[[str], frozenset[str]], results: Iterable[str]) -> None:
        """Remove what a killed node left half done: what was not acknowledged, and results nobody waits for.

        Args:
            known: the names of a series' acknowledged objects.
            results: folders of results that are in the queue.
        """
        for path in (*self.incoming.iterdir(), *self.root.glob(f".*.{self.about.name}")):
            path.unlink()
        for folder in self.series.iterdir():
            names = known(folder.name)
            if not names:
                shutil.rmtree(folder)
                continue
            for path in folder.iterdir():
                if path.name.startswith(".") or path.stem not in names:
                    path.unlink()
        kept = set(results)
        for folder in self.results.iterdir():
            if folder.name not in kept:
                shutil.rmtree(folder)

    def remove(self, series: str, results: Iterable[str]) -> None:
        """Delete the files of a series and of its results, once the queue knows of neither."""
        for folder in (self.series / series, *(self.results / name for name in results)):
            shutil.rmtree(folder, ignore_errors=True)

    def announce(self, about: Mapping[str, object]) -> None:
        """Write `node.json`, for whoever wants to find the node that runs."""
        with atomic_path(self.about, force=True) as temporary:
            temporary.write_text(json.dumps(about) + "\n", encoding="ascii")

    def retract(self) -> None:
        """Take `node.json` away."""
        with contextlib.suppress(OSError):
            self.about.unlink(missing_ok=True)
