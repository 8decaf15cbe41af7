"""What `mesr node status` shows: the queue, read beside the node that may run; and an operator's two interventions."""

from __future__ import annotations

import time
from collections.abc import Iterator

from ..errors import InputError
from .config import NodeConfig
from .spool import Spool
from .store import Entry, Store

COLUMNS = ("series", "state", "objects", "rule", "results", "unsent", "for", "code")


def opened(config: NodeConfig) -> tuple[Spool, Store]:
    """The spool and queue of a node that has run.

    Raises:
        InputError: code `no-queue`, there is none; `queue-format`.
    """
    if not (config.spool / "queue.sqlite").is_file():
        raise InputError(
            "no-queue", "There is no queue in the spool: no node has run there yet.", path=config.spool
        )
    spool = Spool(config.spool)
    return spool, Store(spool.database)


def rows(store: Store) -> Iterator[tuple[str, ...]]:
    """A row for each series, by `COLUMNS`, those last that ended last."""
    for entry in sorted(store.entries(), key=lambda one: one.since):
        yield _row(entry)


def _row(entry: Entry) -> tuple[str, ...]:
    expected = f"/{entry.expected}" if entry.expected is not None else ""
    return (
        entry.short,
        shown_state(entry),
        f"{entry.objects}{expected}",
        entry.rule or "–",
        str(entry.results),
        str(entry.unsent),
        _age(time.time() - entry.since),
        entry.code or "–",
    )


def shown_state(entry: Entry) -> str:
    """The state, of a series that is made told apart by whether everyone has its results."""
    if entry.state != "made":
        return entry.state
    return "sending" if entry.unsent else "delivered"


def _age(seconds: float) -> str:
    seconds = max(0.0, seconds)
    for unit, length in (("d", 86_400), ("h", 3_600), ("min", 60)):
        if seconds >= 2 * length:
            return f"{seconds / length:.0f} {unit}"
    return f"{seconds:.0f} s"


def retry(config: NodeConfig, start: str | None) -> int:
    """Let series that were ignored, refused or failed wait again; beside a node that runs. How many there were.

    Args:
        config: of the node.
        start: of a series' id; None for all that were refused or failed.

    Raises:
        InputError: codes `no-queue`, `queue-format`.
        UsageError: code `no-such-series`.
    """
    _, store = opened(config)
    try:
        entries = store.entries("refused", "failed") if start is None else [store.find(start)]
        return sum(store.retry(entry) for entry in entries)
    finally:
        store.close()


def forget(config: NodeConfig, start: str) -> bool:
    """Delete a series with everything that was to be done with it. The node must not run.

    Args:
        config: of the node.
        start: of its id.

    Raises:
        InputError, UsageError: as `retry`; code `spool-in-use`.
    """
    spool, store = opened(config)
    try:
        lock = spool.lock()
        try:
            entry = store.find(start)
            folders = store.forget(entry)
            spool.remove(entry.id, folders or ())
            return folders is not None
        finally:
            lock.close()
    finally:
        store.close()
