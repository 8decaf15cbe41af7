"""A result as the file a user takes away: a zip of the DICOM series, or NIfTI. Made when first asked for."""

from __future__ import annotations

import math
import zipfile
from dataclasses import replace
from pathlib import Path
from typing import Literal

from .. import io
from ..errors import TooLarge, UsageError
from ..files import atomic_path
from ..io import discover
from ..limits import MAX_SHOWN_VOXELS
from ..volume import Volume
from .jobs import Work
from .session import gone

Kind = Literal["dicom", "nifti"]


def made(work: Work, kind: Kind) -> Path:
    """The file of a result.

    Raises:
        UsageError: code `gone`, there is no result; code `no-header`, no DICOM of a source that is none.
        OutputError: it cannot be written.
    """
    with work.lock:
        outcome = work.outcome
        if outcome is None or outcome.status != "done" or outcome.output is None:
            raise gone("result")
        if kind == "nifti":
            return _nifti(work, outcome.output)
        if outcome.format != "dicom":
            raise UsageError(
                "no-header", "Only a DICOM source can become DICOM: a header is carried over, never made up."
            )
        return _zip(work, outcome.outputs)


def name_of(work: Work, kind: Kind) -> str:
    """What a download is called: the study's hash and the target, nothing of the patient."""
    assert work.outcome is not None
    grid = work.outcome.derivation.grid if work.outcome.derivation else None
    scale = "" if grid is None else "-x" + "x".join(f"{s:.3g}" for s in dict.fromkeys(grid.scale[1:]))
    return f"mesr-{work.outcome.id}{scale}" + (".zip" if kind == "dicom" else ".nii.gz")


def is_shown(size: tuple[int, int, int]) -> bool:
    """Whether a browser can be given a volume of (slices, rows, columns) whole."""
    return math.prod(size) <= MAX_SHOWN_VOXELS


def shown(volume: Volume, path: Path) -> Path:
    """A volume as NIfTI for a viewer that takes it whole; made once.

    Raises:
        TooLarge: code `too-large-to-show`.
    """
    depth, rows, columns = volume.geometry.size
    if not is_shown(volume.geometry.size):
        raise TooLarge(
            "too-large-to-show",
            f"A volume of {columns}×{rows}×{depth} voxels is larger than a browser shows at once.",
            "Look at it slice by slice.",
        )
    if not path.exists():
        io.write(volume, path)
    return path


def result_of(work: Work) -> Volume:
    """A result read back, with what computed it.

    Raises:
        UsageError: code `gone`.
    """
    outcome = work.outcome
    if outcome is None or outcome.output is None:
        raise gone("result")
    (item,) = discover([outcome.output]).items
    return replace(item.open(), derivation=outcome.derivation)


def _nifti(work: Work, output: Path) -> Path:
    if output.name.endswith(".nii.gz"):
        return output
    path = work.folder / "result.nii.gz"
    if not path.exists():
        io.write(result_of(work), path)
    return path


def _zip(work: Work, files: tuple[Path, ...]) -> Path:
    path = work.folder / "result.zip"
    if not path.exists():
        # Stored, not deflated: pixels hardly shrink, and a download should not wait.
        with atomic_path(path) as temporary, zipfile.ZipFile(temporary, "w", zipfile.ZIP_STORED) as archive:
            for number, file in enumerate(files, 1):
                archive.write(file, f"{number:05d}.dcm")
    return path
