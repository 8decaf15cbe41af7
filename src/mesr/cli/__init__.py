"""The command line: thin, quick to start, and never a traceback.

Commands import what they use when they run, so that `mesr --help` loads neither torch nor pydicom.
"""

from __future__ import annotations

import contextlib
import io
import logging
import signal
import sys
import warnings
from typing import Annotated, Literal

import typer

from .. import __version__, runtime
from . import logs
from .console import debugging, out
from .demo import demo
from .export import export
from .look import info, models
from .node import node
from .pairing import prepare_pairs
from .reproduce import reproduce
from .training import evaluate, prepare, train
from .upscale import upscale
from .web import web

Levels = Literal["debug", "info", "warning", "error"]

app = typer.Typer(
    name="mesr",
    help="Super-resolution for radiology images at any magnification. Research use only, not for diagnosis.",
    epilog="Exit status: 0 done, 1 a bug of mesr, 2 usage, 3 all inputs refused, 4 some refused, 130 interrupted, 143 ended.",
    no_args_is_help=True,
    add_completion=False,
    # A pretty traceback prints local variables, and with them patient data.
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
for command in (
    upscale,
    info,
    models,
    prepare,
    prepare_pairs,
    train,
    evaluate,
    reproduce,
    export,
    web,
    node,
    demo,
):
    app.command()(command)


def _version(wanted: bool) -> None:
    if wanted:
        out.print(f"mesr {__version__}")
        raise typer.Exit


@app.callback()
def options(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version and stop.")
    ] = False,
    log_level: Annotated[
        Levels | None,
        typer.Option(case_sensitive=False, help="Log to stderr what is of this level and above."),
    ] = None,
    log_json: Annotated[
        bool, typer.Option("--log-json", help="Log lines of JSON, of level info without --log-level.")
    ] = False,
) -> None:
    """Options of every command."""
    if log_level is not None or log_json:
        logs.start(log_level or "info", as_json=log_json)


def main() -> None:
    """The `mesr` program."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            with contextlib.suppress(OSError):
                stream.reconfigure(errors="replace")
    if not debugging():
        # Libraries warn with values from the file in the text.
        warnings.simplefilter("ignore")
        logging.disable(logging.CRITICAL)
    runtime.keep_memory()
    runtime.limit_threads()
    # As an exception, so that temporary folders with unpacked studies are removed on the way out.
    signal.signal(signal.SIGTERM, _terminated)
    app()


def _terminated(number: int, _: object) -> None:
    raise SystemExit(128 + number)
