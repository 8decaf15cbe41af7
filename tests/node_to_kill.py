"""A node in a process of its own that is killed, as by `kill -9`, at one of its steps.

A step is a moment at which what a killed process leaves behind changes: a flush, a rename, a deletion, the begin or
commit of a transaction, a message to a peer. The process kills itself just before the step of a number, so that every
state that a crash can leave is met by choosing the number; the node's own code knows nothing of it.
"""

from __future__ import annotations

import os
import shutil
import signal
import sqlite3
import threading
from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from pynetdicom.transport import AssociationSocket

import mesr.job  # noqa: F401 - what takes seconds to import is imported once, before the processes are forked
from mesr import files
from mesr.node import spool
from mesr.node.config import NodeConfig
from mesr.node.service import Node

Counted = Any
"""A shared whole number."""


class _Steps:
    """Counts steps and ends the process before one of them; 0 for none."""

    def __init__(self, last: int, counted: Counted) -> None:
        self._last, self._counted, self._lock = last, counted, threading.Lock()

    def __call__(self) -> None:
        with self._lock:
            self._counted.value += 1
            if self._counted.value == self._last:
                os.kill(os.getpid(), signal.SIGKILL)

    def before(self, function: Callable[..., Any]) -> Callable[..., Any]:
        """`function` as a step."""

        def stepped(*args: Any, **kwargs: Any) -> Any:
            self()
            return function(*args, **kwargs)

        return stepped


def run(values: dict[str, Any], last: int, counted: Counted) -> None:
    """A node until SIGTERM, or until just before step `last`."""
    torch.set_num_threads(1)
    steps = _Steps(last, counted)

    class Connection(sqlite3.Connection):
        def execute(self, sql: str, *args: Any) -> sqlite3.Cursor:
            if sql in ("COMMIT", "BEGIN IMMEDIATE"):
                steps()
            return super().execute(sql, *args)

    sqlite3.connect = partial(sqlite3.connect, factory=Connection)  # type: ignore[assignment]
    files.sync = spool.sync = steps.before(files.sync)
    for module, name in ((os, "fsync"), (os, "replace"), (os, "unlink"), (os, "mkdir"), (shutil, "rmtree")):
        setattr(module, name, steps.before(getattr(module, name)))
    AssociationSocket.send = steps.before(AssociationSocket.send)  # type: ignore[method-assign]
    asked: list[int] = []
    signal.signal(signal.SIGTERM, lambda number, frame: asked.append(number))
    Node(NodeConfig.model_validate(values)).serve(lambda: bool(asked))
