"""A place that one process has at a time."""

from __future__ import annotations

import sqlite3
from pathlib import Path


def take(path: Path) -> sqlite3.Connection:
    """Hold a place until the connection is closed or the process ends, however it ends.

    An open transaction on a database of its own is a lock that every system frees with its process.

    Args:
        path: of the database, which is made where it is missing and stays.

    Raises:
        BlockingIOError: another process has it.
        sqlite3.OperationalError: it cannot be had for another reason.
    """
    held = sqlite3.connect(path, timeout=0, isolation_level=None, check_same_thread=False)
    try:
        held.execute("BEGIN EXCLUSIVE")
    except sqlite3.OperationalError as error:
        held.close()
        if error.sqlite_errorcode == sqlite3.SQLITE_BUSY:
            raise BlockingIOError from None
        raise
    return held
