"""The node's connections, in and out: without the waits of small packets, and, from peers, with limits.

A DIMSE message is several small writes. Each would wait for the acknowledgement of the one before (Nagle), which the
other side delays by 40 ms: a thousand objects then take a minute more. And pynetdicom reads as many bytes as a PDU
announces, for as long as they dribble in, and collects an object without end.
"""

from __future__ import annotations

import socket
import time
from typing import Any, Self

from pynetdicom.association import Association
from pynetdicom.transport import AssociationSocket

from ..limits import NODE_PDU_BYTES

_QUICKACK: int | None = getattr(socket, "TCP_QUICKACK", None)
"""Linux has it."""


class QuickSocket(AssociationSocket):
    """An association's connection that neither waits for acknowledgements nor lets the other side wait for them."""

    @classmethod
    def of(cls, association: Association) -> Self:
        """Make the connection of an association one of these.

        pynetdicom makes the socket and has announced the connection with it; another one would announce it twice.
        """
        made: Any = association.dul.socket
        made.__class__ = cls
        made.connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return made  # type: ignore[no-any-return]

    @property
    def connection(self) -> socket.socket:
        """The socket itself."""
        assert self.socket is not None
        return self.socket

    def recv(self, nr_bytes: int) -> bytearray:
        """`nr_bytes`, or fewer at the end of the connection."""
        received = super().recv(nr_bytes)
        self._acknowledge()
        return received

    def _acknowledge(self) -> None:
        """Acknowledge at once what has come. It does not last, and is asked for anew each time."""
        if _QUICKACK is not None:
            self.connection.setsockopt(socket.IPPROTO_TCP, _QUICKACK, 1)


class BoundedSocket(QuickSocket):
    """A peer's connection that ends where a PDU or an object is too large or too slow."""

    _object_bytes: int
    _idle_seconds: float
    _unanswered = 0

    @classmethod
    def bound(cls, association: Association, object_bytes: int, idle_seconds: float) -> None:
        """Bound the connection of an association: bytes of an object, and seconds for one PDU."""
        made = cls.of(association)
        made._object_bytes, made._idle_seconds = object_bytes, idle_seconds

    def recv(self, nr_bytes: int) -> bytearray:
        """As above.

        Raises:
            OSError: too large or too slow; pynetdicom then closes the connection.
        """
        # Between two of our answers a peer sends one object: no asynchronous operations are negotiated.
        self._unanswered += nr_bytes
        if nr_bytes > NODE_PDU_BYTES or self._unanswered > self._object_bytes + NODE_PDU_BYTES:
            raise OSError("too large")
        connection = self.connection
        end = time.monotonic() + self._idle_seconds
        buffer = bytearray(nr_bytes)
        view, filled = memoryview(buffer), 0
        while filled < nr_bytes:
            left = end - time.monotonic()
            if left <= 0:
                raise TimeoutError
            connection.settimeout(left)
            count = connection.recv_into(view[filled:])
            if count == 0:
                break
            filled += count
        connection.settimeout(self._idle_seconds)
        self._acknowledge()
        return buffer if filled == nr_bytes else bytearray(view[:filled])

    def send(self, bytestream: bytes) -> None:
        """An answer, after which the peer may send anew."""
        self._unanswered = 0
        super().send(bytestream)
