"""report.json: what a run did, for scripts and records, without patient data or absolute paths.

The fields are a contract (`docs/stability.md`); `FORMAT` is raised when one changes its meaning or goes.
"""

from __future__ import annotations

import json
import platform
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from . import __version__
from .errors import OutputError, UsageError
from .files import atomic_path, check_file
from .geometry import Geometry
from .grid import Axis
from .io.formats import suffix_of
from .job import Outcome, exit_code
from .volume import Note

FORMAT = 1
_ANOTHER = "Give the report another name."


def check(path: Path, inputs: Iterable[Path], *, force: bool = False) -> None:
    """Refuse, before any work, a report that could not be written in the end or would replace something else.

    Raises:
        UsageError: code `report`, an input, a folder or what is no report has that name, or it cannot be written.
        OutputError: code `exists`, it is there and `force` is not set.
    """
    if path.resolve() in {one.resolve() for one in inputs}:
        raise UsageError("report", "The report would replace an input.", _ANOTHER, path)
    try:
        check_file(path, force=force)
    except OutputError as error:
        if error.code == "exists":
            raise
        raise UsageError(
            "report", "The report needs the name of a file in a folder that can be written.", _ANOTHER, path
        ) from error
    if path.exists() and not _is_report(path):
        raise UsageError("report", "The file to replace is no report of mesr.", _ANOTHER, path)


def check_apart(path: Path, results: Iterable[Path]) -> None:
    """Refuse a report that would replace a result or lie inside one.

    Raises:
        UsageError: code `report`.
    """
    place = path.resolve()
    for result in {one.resolve() for one in results}:
        if place == result or place in result.parents or result in place.parents:
            raise UsageError("report", "The report would lie where a result goes.", _ANOTHER, path)


def _is_report(path: Path) -> bool:
    try:
        with path.open("rb") as file:
            # An image may be large, and is told by its first byte.
            found = json.load(file) if file.peek(1)[:1] == b"{" else None
    except (OSError, ValueError, RecursionError):
        return False
    return isinstance(found, dict) and {"format", "exit_code", "studies"} <= found.keys()


def write(
    path: Path,
    outcomes: Sequence[Outcome],
    notes: Sequence[Note] = (),
    *,
    status: int | None = None,
    force: bool = False,
) -> None:
    """Write the report, atomically.

    Args:
        path: the file.
        outcomes, notes, status: as for `document`.
        force: replace what is there.

    Raises:
        OutputError: it exists and `force` is not set, or it cannot be written.
    """
    save(path, document(outcomes, notes, status), force=force)


def save(path: Path, document: dict[str, Any], *, force: bool = False) -> None:
    """`write` for a report that is put together already."""
    text = json.dumps(document, indent=1, ensure_ascii=False)
    with atomic_path(path, force=force) as temporary:
        temporary.write_text(text + "\n", encoding="utf-8")


def document(
    outcomes: Sequence[Outcome], notes: Sequence[Note] = (), status: int | None = None
) -> dict[str, Any]:
    """The report as plain values.

    Args:
        outcomes: of a run, in order.
        notes: of the discovery.
        status: what the program ends with, where the run was interrupted; None where it follows from the outcomes.
    """
    ended = exit_code(outcomes) if status is None else status
    return assembled([study(outcome) for outcome in outcomes], notes, ended)


def assembled(studies: list[dict[str, Any]], notes: Sequence[Note], status: int) -> dict[str, Any]:
    """The report of studies that are plain values already (`study`)."""
    from torch import __version__ as torch_version

    return {
        "format": FORMAT,
        "versions": {"mesr": __version__, "torch": str(torch_version), "python": platform.python_version()},
        "finished": datetime.now(UTC).isoformat(timespec="seconds"),
        "exit_code": status,
        "notes": _notes(notes),
        "studies": studies,
    }


def study(outcome: Outcome) -> dict[str, Any]:
    """One outcome: always the same keys; what was never reached is null.

    `scale` and the sizes and spacings (mm; null where the file has none) are in the order slices, rows,
    columns. `grid` gives each axis's input pixels per output pixel and the first one's input coordinate, as
    exact fractions.
    """
    made, error = outcome.derivation, outcome.error
    axes = (made.grid.slices, made.grid.rows, made.grid.columns) if made else ()
    return {
        "id": outcome.id,
        "input": outcome.label,
        "status": outcome.status,
        "output": output_name(outcome),
        "files": len(outcome.outputs),
        "model": made.model if made else None,
        "weights_id": made.weights_id if made else None,
        "requested": made.requested if made else None,
        "scale": list(made.grid.scale) if made else None,
        "before": _place(outcome.before),
        "after": _place(outcome.after),
        "grid": [_axis(axis) for axis in axes] or None,
        "intensity": made.intensity if made else None,
        "precision": made.precision if made else None,
        "seconds": {name: round(value, 3) for name, value in outcome.seconds.items()},
        "clipped": outcome.clipped,
        "residual": outcome.residual,
        "unit": outcome.unit,
        "notes": _notes(outcome.notes),
        "error": {"code": error.code, "sentence": error.sentence, "fix": error.fix} if error else None,
    }


def output_name(outcome: Outcome) -> str | None:
    """The name under the output folder, with a star for what comes from the input's file name.

    People name files after patients; a DICOM result is named by its id.
    """
    if outcome.output is None:
        return None
    name = outcome.output.name
    if outcome.format == "dicom" and outcome.id in name:
        return name
    return f"*{suffix_of(outcome.output)}"


def _place(geometry: Geometry | None) -> dict[str, Any] | None:
    if geometry is None:
        return None
    return {"size": list(geometry.size), "spacing_mm": list(geometry.spacing) if geometry.known else None}


def _axis(axis: Axis) -> dict[str, str]:
    return {"step": str(axis.step), "start": str(axis.start)}


def _notes(notes: Sequence[Note]) -> list[dict[str, str]]:
    return [{"code": note.code, "text": note.text} for note in notes]
