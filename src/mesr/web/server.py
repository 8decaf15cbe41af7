"""A socket and uvicorn around the page, and the address to open it at."""

from __future__ import annotations

import socket
from collections.abc import Sequence
from pathlib import Path

import uvicorn

from ..errors import UsageError
from ..limits import MAX_REQUESTS
from .security import Guard, is_loopback

EVERYWHERE = ("0.0.0.0", "::")
GRACE_SECONDS = 5
"""How long answers that are on their way may take when the server ends."""


def bound(host: str, port: int) -> socket.socket:
    """A socket that listens; port 0 takes a free one.

    Raises:
        UsageError: code `address`, there is no such address, or it is taken or not ours to take.
    """
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        family, kind, number, _, address = found[0]
        opened = socket.socket(family, kind, number)
        opened.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            opened.bind(address)
        except OSError:
            opened.close()
            raise
    except OSError:
        raise UsageError(
            "address",
            "The page cannot listen at this address and port.",
            "Another program may be there; choose another with --port.",
        ) from None
    opened.listen()
    return opened


def reaches_further(opened: socket.socket) -> bool:
    """Whether other machines reach the socket."""
    return not is_loopback(opened.getsockname()[0])


def names_of(opened: socket.socket, given: Sequence[str] = ()) -> tuple[str, ...]:
    """The names the page is reached by: those given, and this machine's own where it listens at every address."""
    return (*given, socket.gethostname()) if opened.getsockname()[0] in EVERYWHERE else tuple(given)


def address_of(opened: socket.socket, *, secure: bool, token: str | None, name: str | None = None) -> str:
    """What to open in a browser. The token stands behind a #, which browsers keep to themselves."""
    host, port = opened.getsockname()[:2]
    shown = name or (f"[{host}]" if ":" in host else host)
    if name is None and host in EVERYWHERE:
        shown = socket.gethostname()
    secret = "" if token is None else f"#token={token}"
    return f"{'https' if secure else 'http'}://{shown}:{port}/{secret}"


def serve(
    app: Guard, opened: socket.socket, certificate: Path | None = None, key: Path | None = None
) -> None:
    """Answer requests until the process is interrupted or ended.

    Args:
        certificate, key: PEM files, for TLS.

    Raises:
        UsageError: code `certificate`, one of them cannot be used.
    """
    config = uvicorn.Config(
        app,
        lifespan="on",
        # Nothing is logged of a request: its address has the id that admits to a study.
        access_log=False,
        log_config=None,
        server_header=False,
        proxy_headers=False,
        ws="none",
        limit_concurrency=MAX_REQUESTS,
        timeout_graceful_shutdown=GRACE_SECONDS,
        ssl_certfile=certificate,
        ssl_keyfile=key,
    )
    try:
        config.load()
    except OSError:
        raise UsageError("certificate", "The certificate or its key cannot be used.") from None
    uvicorn.Server(config).run(sockets=[opened])
