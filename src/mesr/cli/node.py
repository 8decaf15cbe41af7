"""`mesr node`: the DICOM node, and a look at its queue."""

from __future__ import annotations

import logging
import signal
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ..kernels import library
from . import logs
from .console import door, out

if TYPE_CHECKING:
    from ..node.config import NodeConfig

ACTIONS = ("run", "status", "retry", "forget")


@door
def node(
    words: Annotated[
        list[str],
        typer.Argument(
            metavar="[ACTION] NODE.YAML [SERIES]",
            help="run (the default), status, retry or forget; the node's configuration; of which series.",
        ),
    ],
) -> None:
    """Receive series by DICOM, super-resolve them and send the results on. Research use only, not for diagnosis."""
    from ..errors import UsageError
    from ..node import require_extra

    action, *rest = words if words[0] in ACTIONS else ["run", *words]
    series = rest[1] if len(rest) == 2 and action in ("retry", "forget") else None
    if len(rest) != (1 if series is None else 2) or (action == "forget" and series is None):
        raise UsageError(
            "node-arguments",
            "One configuration was expected, for forget with a series behind it.",
            "mesr node [run | status | retry | forget] NODE.YAML [SERIES]",
        )
    require_extra()
    from ..node import config as configuration

    config = configuration.load(Path(rest[0]))
    match action:
        case "run":
            _run(config)
        case "status":
            _status(config)
        case "retry":
            _retry(config, series)
        case _:
            _forget(config, series or "")


def _run(config: NodeConfig) -> None:
    """Until SIGTERM or Ctrl-C."""
    if not logging.getLogger("mesr").handlers:
        # A node without a word would be no service; `--log-level` and `--log-json` come before.
        logs.start("info")
    library.build_ahead()
    from ..node.service import Node

    asked: list[int] = []
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda number, frame: asked.append(number))
    Node(config).serve(lambda: bool(asked))


def _status(config: NodeConfig) -> None:
    from rich.table import Table

    from ..node import overview

    _, store = overview.opened(config)
    try:
        table = Table(*overview.COLUMNS, box=None, pad_edge=False)
        for row in overview.rows(store):
            table.add_row(*row)
        out.print(table)
        for name, count in sorted(store.backlog().items()):
            out.print(f"{name}: {count} objects to send")
        for reason, count in sorted(store.refusals().items()):
            out.print(f"{count} objects not taken: {reason}")
    finally:
        store.close()


def _retry(config: NodeConfig, series: str | None) -> None:
    from ..node import overview

    out.print(f"{overview.retry(config, series)} series wait again.")


def _forget(config: NodeConfig, series: str) -> None:
    from ..node import overview

    out.print(
        "Deleted." if overview.forget(config, series) else "The series has changed; nothing was deleted."
    )
