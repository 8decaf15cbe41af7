"""Who may ask the page for anything, and what a browser may do with the answers.

The server has patients' images and usually no password, so a stranger's page in the same browser must not reach
it. Host is checked against DNS rebinding, Origin and Sec-Fetch-Site against requests from other pages, and where
the server listens beyond this machine a random token is asked for, kept in a cookie that no script can read.
"""

from __future__ import annotations

import hmac
import ipaddress
import json
import logging
from collections.abc import Callable, Iterable
from http.cookies import CookieError, SimpleCookie
from typing import TYPE_CHECKING

from ..errors import InternalError, MesrError, TooLarge, UsageError
from ..limits import MAX_REQUEST_BYTES

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

LOOPBACK = frozenset({"127.0.0.1", "localhost", "::1"})
UPLOADS = "/api/studies"
"""The one route that takes more than a small body, and counts it itself."""
OPEN = ("/", "/static/", "/api/session")
"""What needs no token: the page, which holds no data, and giving the token."""

CONTENT_SECURITY_POLICY = "; ".join(
    (
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "img-src 'self' blob: data:",
        "connect-src 'self' data:",
        "base-uri 'none'",
        "form-action 'none'",
        "frame-ancestors 'none'",
    )
)
"""Nothing from elsewhere, no inline script or style. `data:` is the font that NiiVue carries inside itself."""

HEADERS = {
    "content-security-policy": CONTENT_SECURITY_POLICY,
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "permissions-policy": "camera=(), geolocation=(), microphone=()",
    "referrer-policy": "no-referrer",
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
}

_log = logging.getLogger(__name__)


class Guard:
    """The application, behind everything that is checked before it and said after it.

    Args:
        app: what answers.
        names: host names, in lower case, that the page may be reached by, beside the address that a request came to.
        token: what a browser must show; None asks for nothing.
        on_bug: told of an exception that nobody expected, whose text may hold patient data.
    """

    def __init__(
        self,
        app: ASGIApp,
        names: Iterable[str] = (),
        token: str | None = None,
        on_bug: Callable[[Exception], None] | None = None,
    ) -> None:
        self.app = app
        self._on_bug = on_bug
        self.names = LOOPBACK | frozenset(name.lower() for name in names)
        self.token = token

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            # Lifespan only: there are no WebSockets here.
            if scope["type"] == "lifespan":
                await self.app(scope, receive, send)
            return
        started = False

        async def sending(message: Message) -> None:
            nonlocal started
            if message["type"] == "http.response.start":
                started = True
                message = {**message, "headers": [*message["headers"], *_headers(scope["path"])]}
            await send(message)

        try:
            self._check(scope)
            await self.app(scope, _bounded(scope, receive), sending)
        except MesrError as error:
            if not started:
                await _answer(error, sending)
        except Exception as bug:
            # Its text may hold patient data, which no log does.
            _log.error("A request ended in an unexpected %s.", type(bug).__name__)
            if self._on_bug is not None:
                self._on_bug(bug)
            if not started:
                await _answer(InternalError(bug), sending)

    def _check(self, scope: Scope) -> None:
        """Refuse a request that no page of ours makes.

        Raises:
            UsageError: codes `foreign-host`, `foreign-origin`, `token`.
            TooLarge: code `request-too-large`.
        """
        headers = {name.lower(): value.decode("latin-1") for name, value in scope["headers"]}
        host = headers.get(b"host", "")
        if not self._is_ours(_name_of(host), scope):
            raise UsageError(
                "foreign-host",
                "The page was asked for under a name that is not its own.",
                "Use the address that mesr web printed, or give the name with --name.",
            )
        origin, site = headers.get(b"origin"), headers.get(b"sec-fetch-site", "none")
        safe = scope["method"] in ("GET", "HEAD")
        foreign = site not in ("same-origin", "none") and scope["path"] != "/"
        if foreign or ((origin is not None or not safe) and origin != f"{scope['scheme']}://{host}"):
            raise UsageError("foreign-origin", "Another page asked; only the page of mesr itself may.")
        if scope["path"] != UPLOADS and int(headers.get(b"content-length") or 0) > MAX_REQUEST_BYTES:
            raise _request_too_large()
        needed = scope["path"] != OPEN[0] and not scope["path"].startswith(OPEN[1:])
        if needed and not self.admits(_cookie(headers.get(b"cookie", ""), cookie_of(scope))):
            raise UsageError(
                "token",
                "The token is missing or is another run's.",
                "Open the whole address that mesr web printed.",
            )

    def admits(self, token: str) -> bool:
        """Whether this is the token, in a time that does not tell how much of it is right."""
        return self.token is None or hmac.compare_digest(token.encode(), self.token.encode())

    def _is_ours(self, name: str, scope: Scope) -> bool:
        """A known name, or the very address the connection came to: an address cannot be rebound."""
        return name in self.names or (bool(scope.get("server")) and _same_address(name, scope["server"][0]))


def status_of(error: MesrError) -> int:
    """The HTTP status of an error."""
    by_code = {"foreign-host": 421, "foreign-origin": 403, "token": 401, "gone": 404, "no-space": 507}
    if error.code in by_code:
        return by_code[error.code]
    if isinstance(error, TooLarge):
        return 413
    if isinstance(error, UsageError):
        return 400
    return 500 if isinstance(error, InternalError) else 422


def body_of(error: MesrError) -> dict[str, str]:
    """What the page is told of an error: never a path."""
    return {"code": error.code, "sentence": error.sentence, "fix": error.fix}


def cookie_of(scope: Scope) -> str:
    """The name of the cookie: by the port, since browsers give a host's cookies to all its ports."""
    _, port = scope.get("server") or ("", 0)
    return f"mesr-{port}"


def is_loopback(address: str) -> bool:
    """Whether only this machine reaches an address."""
    return _address(address).is_loopback


def _headers(path: str) -> list[tuple[bytes, bytes]]:
    cache = "no-store" if path.startswith("/api/") else "no-cache"
    return [(name.encode(), value.encode()) for name, value in {**HEADERS, "cache-control": cache}.items()]


def _name_of(host: str) -> str:
    """The name in a Host header, without port and brackets."""
    if host.startswith("["):
        name, closed, _ = host[1:].partition("]")
        return name.lower() if closed else ""
    return host.rpartition(":")[0].lower() if ":" in host else host.lower()


def _same_address(name: str, address: str) -> bool:
    try:
        return _address(name) == _address(address)
    except ValueError:
        return False


def _address(text: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address:
    """An address, that of IPv4 in IPv6 (RFC 4291 2.5.5.2) as itself."""
    address = ipaddress.ip_address(text)
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return mapped or address


def _cookie(text: str, name: str) -> str:
    try:
        found = SimpleCookie(text).get(name)
    except CookieError:
        return ""
    return "" if found is None else found.value


def _bounded(scope: Scope, receive: Receive) -> Receive:
    """`receive` that gives up where a body is larger than any but an upload has to be."""
    if scope["path"] == UPLOADS:
        return receive
    taken = 0

    async def counting() -> Message:
        nonlocal taken
        message = await receive()
        taken += len(message.get("body", b""))
        if taken > MAX_REQUEST_BYTES:
            raise _request_too_large()
        return message

    return counting


def _request_too_large() -> TooLarge:
    return TooLarge("request-too-large", f"A request may have {MAX_REQUEST_BYTES} bytes.")


async def _answer(error: MesrError, send: Send) -> None:
    body = json.dumps(body_of(error)).encode()
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": status_of(error), "headers": headers})
    await send({"type": "http.response.body", "body": body})
