"""The node as a process: its parts started in an order in which nothing is lost, and stopped in the reverse one."""

from __future__ import annotations

import logging
import os
import sqlite3
import sys
import threading
import time
import warnings
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor, wait
from typing import Any

from pydicom import config as pydicom_config
from pynetdicom import _config as pynetdicom_config

from .. import __version__
from ..errors import InternalError
from . import health
from .config import NodeConfig
from .counters import Counters
from .receive import Receiver
from .send import Sender, destination
from .spool import Spool
from .store import Store
from .work import Worker

_POLL_SECONDS = 0.1
_TIDY_SECONDS = 60.0

log = logging.getLogger("mesr.node")


class Node:
    """A node that receives, works and sends from when it is made until `close`.

    Args:
        config: all of it.

    Raises:
        UsageError: codes `spool-in-use`, `listen`, `certificate`, `secret`.
        InputError: code `queue-format`.
        OutputError: code `unwritable`.
    """

    def __init__(self, config: NodeConfig) -> None:
        keep_quiet()
        self.config = config
        self.counters = Counters()
        ways = {one.name: destination(one) for one in config.destinations}
        self.spool = Spool(config.spool)
        self._lock = self.spool.lock()
        self.store = Store(self.spool.database)
        # Before anything can arrive: what is tidied away was never acknowledged.
        self.spool.tidy(self.store.names, self.store.results())
        self.worker = Worker(config, self.spool, self.store, self.counters)
        self.worker.recover()
        self.receiver = Receiver(config, self.spool, self.store, self.counters, self.worker.heard)
        self.senders = [
            Sender(name, way, config.retry, self.spool, self.store, self.counters)
            for name, way in ways.items()
        ]
        self.health: health.HealthServer | None = None
        if config.health is not None:
            self.health = health.HealthServer(
                (config.health.host, config.health.port), self.state, self.metrics
            )
        for sender in self.senders:
            sender.start()
        self._stopping, self._ended = threading.Event(), threading.Event()
        self._announce()

    def serve(self, asked: Callable[[], bool]) -> None:
        """Work until it is asked to stop, then stop and close.

        A signal's handler may hold none of the locks that stopping takes, for its thread may have them already. So the
        work goes on in a thread, and this one looks now and then whether the handler has left a word.

        Args:
            asked: whether to stop.
        """
        with ThreadPoolExecutor(1, thread_name_prefix="node-work") as threads:
            working = threads.submit(self.run)
            while not asked() and not working.done():
                time.sleep(_POLL_SECONDS)
            self.stop()
            wait([working])
            self.close()
        working.result()

    def run(self) -> None:
        """Work until `stop`, in the calling thread."""
        tidied = -_TIDY_SECONDS
        while not self._stopping.is_set():
            try:
                busy = self.worker.step()
                if time.monotonic() - tidied >= min(_TIDY_SECONDS, self.config.keep_hours * 3600 or 1.0):
                    self.worker.tidy()
                    tidied = time.monotonic()
            except (OSError, sqlite3.Error) as error:
                # A full or failing disk: what is in the queue stays, and is looked at again.
                log.error("the spool cannot be used (%s)", type(error).__name__)
                busy = False
                self._stopping.wait(self.config.retry.first_seconds)
            if not busy:
                self._stopping.wait(_POLL_SECONDS)

    def stop(self) -> None:
        """Accept nothing further and finish what is in hand, within the configuration's `stop_seconds`; returns at once."""
        if self._stopping.is_set():
            return
        self._stopping.set()
        self.worker.stop.set()
        threading.Thread(target=self._hurry, name="node-stop", daemon=True).start()

    def close(self) -> None:
        """Stop, wait for what is open, end every part and free the spool."""
        self.stop()
        while self.receiver.associations and not self.worker.give_up.is_set():
            self.worker.give_up.wait(0.05)
        self.receiver.abort()
        for sender in self.senders:
            sender.stop()
        for sender in self.senders:
            sender.join(self.config.stop_seconds)
        if self.health is not None:
            self.health.close()
        self.spool.retract()
        self.store.close()
        self._lock.close()
        self._ended.set()

    def _hurry(self) -> None:
        """Let associations and the job end by themselves for most of the time, then end them, then the process."""
        log.info("stopping")
        end = time.monotonic() + self.config.stop_seconds
        self.receiver.close()
        for sender in self.senders:
            sender.stop()
        if self._ended.wait(0.7 * self.config.stop_seconds):
            return
        self.worker.give_up.set()
        self.receiver.abort()
        if self._ended.wait(max(0.0, end - time.monotonic())):
            return
        # All that counts is on the disk after every step; a slice that takes minutes is not waited for.
        log.warning("stopped in the midst of the work, which is done again at the next start")
        os._exit(0)

    def state(self) -> tuple[bool, Mapping[str, Any]]:
        """For `/health`: whether all parts are there and there is room, and how things stand."""
        free = self.spool.free_bytes()
        parts = {
            "receiving": not self._stopping.is_set(),
            "room": free >= self.config.min_free_mib << 20,
            "sending": all(sender.is_alive() for sender in self.senders),
        }
        well = all(parts.values())
        return well, {
            "status": "ok" if well else "unwell",
            "version": __version__,
            **parts,
            "free_bytes": free,
            "series": self.store.counts(),
            "unsent": self.store.backlog(),
            "destinations": {sender.destination: sender.trouble or "ok" for sender in self.senders},
        }

    def metrics(self) -> str:
        """For `/metrics`."""
        backlog = self.store.backlog()
        rows: list[tuple[str, float, Mapping[str, str]]] = [
            ("up", float(self.state()[0]), {}),
            ("associations", self.receiver.associations, {}),
            ("spool_free_bytes", self.spool.free_bytes(), {}),
        ]
        rows += [("series", count, {"state": state}) for state, count in self.store.counts().items()]
        for sender in self.senders:
            about = {"destination": sender.destination}
            rows.append(("objects_unsent", backlog.get(sender.destination, 0), about))
            rows.append(("destination_up", float(not sender.trouble), about))
        return health.metrics(self.counters, health.gauges(rows))

    def _announce(self) -> None:
        about = {
            "pid": os.getpid(),
            "dicom_port": self.receiver.port,
            "health_port": self.health.port if self.health is not None else None,
        }
        self.spool.announce(about)
        log.info(
            "listening on %s port %d as %s",
            self.config.listen.host, self.receiver.port, ", ".join(self.config.listen.called),
        )  # fmt: skip


def keep_quiet() -> None:
    """Let no library speak: what pynetdicom and pydicom log quotes headers, and a thread's traceback may."""
    for name in ("pynetdicom", "pydicom"):
        logger = logging.getLogger(name)
        logger.setLevel(logging.CRITICAL + 1)
        logger.propagate = False
    # Once for the process: threads that send and receive cannot take turns to be silent, as `header.quiet` makes them.
    warnings.simplefilter("ignore")
    settings = pydicom_config.settings
    settings.reading_validation_mode = settings.writing_validation_mode = pydicom_config.IGNORE
    pynetdicom_config.LOG_HANDLER_LEVEL = "none"
    pynetdicom_config.LOG_REQUEST_IDENTIFIERS = pynetdicom_config.LOG_RESPONSE_IDENTIFIERS = False
    threading.excepthook = _thread_ended


def _thread_ended(args: threading.ExceptHookArgs) -> None:
    if os.environ.get("MESR_DEBUG", "") not in ("", "0"):
        sys.__excepthook__(args.exc_type, args.exc_value or args.exc_type(), args.exc_traceback)
    bug = InternalError(args.exc_value or args.exc_type())
    log.error("%s", bug.sentence)
