"""`mesr upscale --cluster`: the same studies, spread over a Ray cluster; only this file of the command line knows it."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from .. import job
from .. import report as reports
from ..errors import MesrError, UsageError
from .console import err, exit_status, numbers, out, show, shown, tell

if TYPE_CHECKING:
    from ..cluster.driver import Told
    from ..grid import Target

AUTHORIZATION = "MESR_DICOMWEB_AUTHORIZATION"
"""Of the environment: the value of the Authorization header. A command line can be read by others."""


def spread(
    inputs: Sequence[Path],
    query: str | None,
    target: Target,
    output: Path,
    settings: job.Settings,
    report: Path | None,
    share: tuple[int | None, int, float | None],
) -> None:
    """Do the studies of the inputs and of a DICOMweb query on a cluster, tell of each, and end with the exit status.

    Args:
        share: workers, and the processors and GPUs of each, as `engine.Pool` has them.
    """
    from ..cluster import engine

    engine.require()
    from ..cluster.dicomweb import Client
    from ..cluster.driver import queried, run_all
    from ..io import Found

    pool = engine.Pool(*share)
    client = None if query is None else Client.of(query, os.environ.get(AUTHORIZATION))
    found = job.discover(inputs, output) if inputs else Found([], [], [])
    remote, notes = queried(client, output) if client else ([], [])
    if client and not inputs and not remote:
        raise UsageError(
            "no-match", "The DICOMweb query matches no CT or MR series.", "Check its parameters."
        )
    fates = run_all(found, remote, target, output, settings, pool, client)
    if report is not None:
        planned = [place for places in job.planned(found, output, settings) for place in places]
        reports.check_apart(report, planned)
    tell([*found.notes, *notes], indent="")
    told: list[Told] = []
    try:
        for one in _counted(fates, len(found.refused) + len(found.items) + len(remote)):
            told.append(one)
            describe(one)
        done, before = sum(one.fate.done for one in told), sum(one.before for one in told)
        earlier = f", {before} of them by an earlier call" if before else ""
        out.print(f"{done} of {len(told)} done{earlier}.")
        raise typer.Exit(job.joint_exit_code(one.fate.exit_code for one in told))
    except BaseException as end:
        if report is not None:
            studies = [one.fate.study for one in told]
            document = reports.assembled(studies, [*found.notes, *notes], exit_status(end))
            reports.save(report, document, force=settings.force)
        raise


def describe(told: Told) -> None:
    """One study's fate in a line, with its notes."""
    study = told.fate.study
    name = f"{study['input']} ({study['id']})"
    error = told.fate.error
    if error is not None:
        show(MesrError(error.code, error.sentence, error.fix, told.about or None), name)
        return
    assert told.place is not None
    scale = numbers(dict.fromkeys(study["scale"][1:]))
    when = "done before" if told.before else f"{study['seconds']['total']:.1f} s"
    out.print(f"{name} → {shown(told.place)}  {study['model']}, effective scale {scale}, {when}")
    for note in study["notes"]:
        out.print(f"  note: {note['text']} ({note['code']})")


def _counted(fates: Iterator[Told], count: int) -> Iterator[Told]:
    """The fates, with a bar over the studies on a terminal."""
    from rich.progress import Progress

    with Progress(console=err, transient=True, disable=not err.is_terminal) as bar:
        yield from bar.track(fates, total=count, description="studies")
