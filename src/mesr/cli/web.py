"""`mesr web`: the page, on this machine."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Annotated, Literal

import typer

from ..kernels import library
from .console import door, err, out, show

LOOPBACK = "127.0.0.1"
NEEDED = {"fastapi": "fastapi", "uvicorn": "uvicorn", "python_multipart": "python-multipart"}
"""Packages of the extra by what is imported."""


@door
def web(
    host: Annotated[
        str, typer.Option(help="Address to listen at; any but a loopback one asks for a token.")
    ] = LOOPBACK,
    port: Annotated[int, typer.Option(min=0, max=65_535, help="0 takes a free one.")] = 8642,
    name: Annotated[
        list[str] | None,
        typer.Option(help="A host name the page is reached by, beside its address; may be repeated."),
    ] = None,
    token: Annotated[bool, typer.Option("--token", help="Ask for a token on this machine too.")] = False,
    certificate: Annotated[Path | None, typer.Option(help="PEM file, for https.")] = None,
    key: Annotated[Path | None, typer.Option(help="PEM file of the certificate's key.")] = None,
    weights: Annotated[
        list[Path] | None,
        typer.Option(help="A .safetensors file to offer as well; may be repeated."),
    ] = None,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:1, mps.")] = "auto",
    precision: Annotated[
        Literal["auto", "float32", "bf16"], typer.Option(help="Of the convolutions.")
    ] = "auto",
    most: Annotated[float, typer.Option("--most", min=0.001, help="GiB that one upload may have.")] = 4.0,
    open: Annotated[bool, typer.Option("--open", help="Open the page in the browser.")] = False,
) -> None:
    """Show before and after in a browser while the scale is chosen. Research use only, not for diagnosis."""
    from ..errors import InternalError, MissingExtra, UsageError

    for module, package in NEEDED.items():
        if importlib.util.find_spec(module) is None:
            raise MissingExtra(package, "web", "The page")
    library.build_ahead()
    from ..device import resolve_device
    from ..inference import Options
    from ..web.app import VIEWER, Service, create_app
    from ..web.server import address_of, bound, names_of, reaches_further, serve

    if not VIEWER.is_file():
        raise UsageError("no-viewer", "The page's viewer is not there: this is a clone.", "Run: make web")
    if key is not None and certificate is None:
        raise UsageError(
            "certificate-needed", "A key was given without its certificate.", "Add --certificate."
        )
    resolve_device(device)
    opened = bound(host, port)
    with opened:
        secret = _token() if token or reaches_further(opened) else None
        service = Service(
            names_of(opened, name or ()),
            secret,
            weights or (),
            Options(device, precision),
            int(most * (1 << 30)),
            lambda bug: show(InternalError(bug)),
        )
        app = create_app(service)
        secure = certificate is not None
        address = address_of(opened, secure=secure, token=secret, name=name[0] if name else None)
        out.print(f"The page: {address}")
        out.print("Research use only, not for diagnosis. Ctrl-C ends it and removes what it holds.")
        if reaches_further(opened) and not secure:
            err.print("warning: Without --certificate others on the network can read what is sent.")
        if open:
            _show(address)
        try:
            serve(app, opened, certificate, key)
        except KeyboardInterrupt:
            out.print("Ended; nothing is left of the studies.")


def _token() -> str:
    import secrets

    return secrets.token_urlsafe(32)


def _show(address: str) -> None:
    """Open a browser, which waits for the socket: it listens already."""
    import webbrowser

    webbrowser.open(address)
