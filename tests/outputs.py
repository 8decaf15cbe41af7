"""What lies in an output folder, to compare two calls by."""

from __future__ import annotations

from pathlib import Path

import pydicom

from mesr.cluster.journal import FOLDER


def content(out: Path) -> dict[str, object]:
    """Every file by its name below `out`, without a cluster's journal: its bytes, or a DICOM instance's UID and pixels.

    The UID is made from all that decides a pixel; elsewhere in an instance stands when it was made.
    """
    files = (path for path in sorted(out.rglob("*")) if path.is_file() and FOLDER not in path.parts)
    return {path.relative_to(out).as_posix(): _told(path) for path in files}


def _told(path: Path) -> object:
    if path.suffix != ".dcm":
        return path.read_bytes()
    data = pydicom.dcmread(path)
    return str(data.SOPInstanceUID), bytes(data.PixelData)
