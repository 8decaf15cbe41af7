"""`/health` for whoever restarts a service and `/metrics` for Prometheus: numbers, and no word about a patient."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterable, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from ..errors import UsageError
from ..limits import NODE_HEALTH_REQUESTS, NODE_HEALTH_SECONDS
from .counters import Counters, Labels

Gauges = Mapping[tuple[str, Labels], float]

PREFIX = "mesr_node_"
HELP = {
    "up": "1 where the node receives, works and sends.",
    "associations": "Associations that are open.",
    "associations_rejected_total": "Associations rejected: a stranger, another called title, or too many.",
    "connections_refused_total": "Connections closed before they asked for an association.",
    "objects_received_total": "Objects acknowledged and new.",
    "objects_repeated_total": "Objects acknowledged that were there already.",
    "objects_refused_total": "Objects answered with another status than success, by status.",
    "series": "Series in the queue, by state.",
    "jobs_total": "Series worked on, by the state that came of it.",
    "job_seconds_total": "Seconds of work on series.",
    "objects_unsent": "Objects that a destination has not got.",
    "objects_sent_total": "Objects that a destination has acknowledged.",
    "send_failures_total": "Attempts to send that failed.",
    "send_refused_total": "Objects that a destination would not take, by what it answered.",
    "destination_up": "1 where the last attempt to send did not fail.",
    "spool_free_bytes": "Bytes that the spool's file system has left.",
}
"""Every metric, without its prefix."""


def metrics(counters: Counters, gauges: Gauges) -> str:
    """The text format of Prometheus, version 0.0.4."""
    values = {**counters.values(), **gauges}
    lines: list[str] = []
    for name, text in HELP.items():
        kind = "counter" if name.endswith("_total") else "gauge"
        lines += [f"# HELP {PREFIX}{name} {text}", f"# TYPE {PREFIX}{name} {kind}"]
        rows = sorted((labels, value) for (one, labels), value in values.items() if one == name)
        if not rows and kind == "counter" and name not in _LABELLED:
            rows = [((), 0.0)]
        lines += [f"{PREFIX}{name}{_labels(labels)} {value:.12g}" for labels, value in rows]
    return "\n".join(lines) + "\n"


_LABELLED = (
    "objects_refused_total", "jobs_total", "objects_sent_total", "send_failures_total", "send_refused_total",
)  # fmt: skip
"""Counters that have no row before there is a label for it."""


def _labels(labels: Labels) -> str:
    """Values are names of ours, of the configuration, or numbers; none needs an escape."""
    return "{" + ",".join(f'{name}="{value}"' for name, value in labels) + "}" if labels else ""


class HealthServer:
    """An HTTP server for GET of two paths, in threads of its own.

    Args:
        address: host and port; port 0 takes one that is free.
        state: called for `/health`: whether all is well, and plain values that say more.
        text: called for `/metrics`.

    Raises:
        UsageError: code `listen`.
    """

    def __init__(
        self,
        address: tuple[str, int],
        state: Callable[[], tuple[bool, Mapping[str, Any]]],
        text: Callable[[], str],
    ) -> None:
        class Handler(_Handler):
            answers = {"/health": lambda: _as_json(*state()), "/metrics": lambda: (200, _PLAIN, text())}  # noqa: RUF012

        try:
            self._server = _Server(address, Handler)
        except OSError as error:
            reason = error.strerror or "unknown reason"
            raise UsageError(
                "listen",
                f"The port {address[1]} of {address[0]} cannot be listened on: {reason}.",
                "Choose another, or stop what uses it.",
            ) from None
        threading.Thread(
            target=self._server.serve_forever, args=(0.1,), name="node-health", daemon=True
        ).start()

    @property
    def port(self) -> int:
        """Where it listens."""
        return int(self._server.server_address[1])

    def close(self) -> None:
        """Answer nothing further."""
        self._server.shutdown()
        self._server.server_close()


_PLAIN = "text/plain; version=0.0.4; charset=utf-8"


def _as_json(well: bool, about: Mapping[str, Any]) -> tuple[int, str, str]:
    return (200 if well else 503), "application/json", json.dumps(about) + "\n"


class _Server(ThreadingHTTPServer):
    """A thread a request, of which there are few; who comes beyond them is hung up on."""

    daemon_threads = True

    def __init__(self, *arguments: Any) -> None:
        self._free = threading.BoundedSemaphore(NODE_HEALTH_REQUESTS)
        super().__init__(*arguments)

    def process_request(self, request: Any, client_address: Any) -> None:
        if not self._free.acquire(blocking=False):
            self.shutdown_request(request)
            return
        super().process_request(request, client_address)

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        try:
            super().process_request_thread(request, client_address)
        finally:
            self._free.release()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A connection that broke; the default prints a traceback."""


class _Handler(BaseHTTPRequestHandler):
    """One request a connection, in bounded time."""

    timeout = NODE_HEALTH_SECONDS
    server_version, sys_version = "mesr", ""
    answers: Mapping[str, Callable[[], tuple[int, str, str]]]

    def do_GET(self) -> None:
        answer = self.answers.get(self.path)
        status, kind, text = answer() if answer is not None else (404, "text/plain", "not here\n")
        body = text.encode("utf-8")
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Cache-Control", "no-store")
        self.send_header("X-Content-Type-Options", "nosniff")
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        """Requests for health are no news; the default prints them."""


def gauges(rows: Iterable[tuple[str, float, Mapping[str, str]]]) -> Gauges:
    """Values by name and labels."""
    return {(name, tuple(sorted(labels.items()))): value for name, value, labels in rows}
