"""The node's listening socket: pynetdicom's server, bounded in what a peer may take of this machine.

pynetdicom shakes hands for TLS in the thread that accepts everyone else, takes any number of connections, and prints
tracebacks. Here each connection has its limits, and whatever goes wrong closes that one alone.
"""

from __future__ import annotations

import socket
import ssl
import threading
from collections.abc import Callable
from typing import Any

from pynetdicom import AE
from pynetdicom.transport import RequestHandler, ThreadedAssociationServer

from ..errors import UsageError
from ..limits import NODE_CONNECTIONS, NODE_REQUEST_SECONDS
from .config import ServerTls
from .sockets import BoundedSocket
from .tls import certificate_error


class _Handler(RequestHandler):
    """One connection: the TLS handshake, in its own thread, then the association."""

    server: BoundedServer

    def handle(self) -> None:
        if isinstance(self.request, ssl.SSLSocket):
            self.request.settimeout(NODE_REQUEST_SECONDS)
            self.request.do_handshake()
        super().handle()

    def _create_association(self) -> Any:
        association = super()._create_association()
        BoundedSocket.bound(association, self.server.object_bytes, self.server.idle_seconds)
        return association


class BoundedServer(ThreadedAssociationServer):
    """pynetdicom's threaded server with limits, without tracebacks, and with room to count whom it turned away."""

    request_queue_size = 64
    daemon_threads = True
    object_bytes: int
    idle_seconds: float
    on_refused: Callable[[], None]
    _open: list[socket.socket]

    def verify_request(self, request: Any, client_address: Any) -> bool:
        """Whether there is room; beyond the associations a few more are heard, to be rejected in due form."""
        # By sockets and not by threads, which begin a moment after their connection.
        self._open = [one for one in self._open if one.fileno() != -1]
        if len(self._open) >= self.ae.maximum_associations + NODE_CONNECTIONS:
            self.on_refused()
            return False
        self._open.append(request)
        return True

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A connection that broke before it was an association; the default prints a traceback."""
        self.on_refused()


def listen(
    ae: AE,
    address: tuple[str, int],
    handlers: list[Any],
    *,
    tls: ServerTls | None,
    object_bytes: int,
    idle_seconds: float,
    on_refused: Callable[[], None],
) -> BoundedServer:
    """A server that accepts connections from now on, in a thread of its own.

    Args:
        ae: with its contexts, timeouts and lists.
        address: host and port; port 0 takes one that is free.
        handlers: of pynetdicom's events.
        tls: certificate and key; None for none.
        object_bytes: of the largest object.
        idle_seconds: for one PDU.
        on_refused: called for each connection that was closed before it became an association.

    Raises:
        UsageError: code `listen`, the address cannot be used; code `certificate`.
    """
    context = None if tls is None else server_context(tls)
    try:
        server = ae.make_server(
            address, ssl_context=context, evt_handlers=handlers, server_class=BoundedServer
        )
    except OSError as error:
        raise _unusable(address, error) from None
    assert isinstance(server, BoundedServer)
    server.RequestHandlerClass = _Handler
    server.object_bytes, server.idle_seconds, server.on_refused = object_bytes, idle_seconds, on_refused
    server._open = []
    ae._servers.append(server)
    threading.Thread(target=server.serve_forever, args=(0.1,), name="node-listen", daemon=True).start()
    return server


def _unusable(address: tuple[str, int], error: OSError) -> UsageError:
    return UsageError(
        "listen",
        f"The port {address[1]} of {address[0]} cannot be listened on: {error.strerror or 'unknown reason'}.",
        "Choose another, or stop what uses it.",
    )


class _LateHandshake(ssl.SSLContext):
    """Leaves the handshake to the connection's own thread, so that a silent peer holds up nobody else."""

    def wrap_socket(self, sock: socket.socket, *args: Any, **kwargs: Any) -> ssl.SSLSocket:
        return super().wrap_socket(sock, *args, **{**kwargs, "do_handshake_on_connect": False})


def server_context(tls: ServerTls) -> ssl.SSLContext:
    """TLS 1.2 or later, with the certificate of the configuration (PS3.15 B.12, BCP 195).

    Raises:
        UsageError: code `certificate`; a file cannot be read.
    """
    context = _LateHandshake(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    try:
        context.load_cert_chain(tls.certificate, tls.key)
        if tls.clients is not None:
            context.load_verify_locations(tls.clients)
            context.verify_mode = ssl.CERT_REQUIRED
    except (OSError, ValueError):
        raise certificate_error() from None
    return context
