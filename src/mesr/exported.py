"""One patient's folder as it was exported: the CT and the cone-beam CT among its series, whatever the files are called.

DICOM has no attribute for a cone beam. What made a series is told by the name of the machine and of the protocol:
`OBI Cone-beam CT`, `XVI`. A machine that treats has no other CT than a cone-beam one.
"""

from __future__ import annotations

import re
from pathlib import Path

from . import io
from .errors import InputError
from .io.dicom import DicomSeries
from .io.dicom.header import quiet
from .io.dicom.identity import is_derived_here
from .volume import Volume

CONE_BEAM = re.compile(
    r"cbct|cone[\s_-]*beam|on[\s_-]*board[\s_-]*imag|truebeam|halcyon|hypersight|mvision|(?<![a-z])(obi|xvi|ethos)(?![a-z])",
    re.IGNORECASE,
)
TOLD_BY = ("ManufacturerModelName", "SeriesDescription", "ProtocolName")


def told_apart(folder: Path) -> tuple[Volume, Volume]:
    """The CT and the cone-beam CT of one patient; other modalities and results of this software are passed over.

    Raises:
        InputError: code `not-told-apart`, the folder holds not one of each; `several-patients`, by their PatientID;
            or that of a series which cannot be used.
    """
    found = io.discover([folder])
    parts: dict[bool, list[Volume]] = {False: [], True: []}
    patients = set()
    for item in found.items:
        volume = item.open()
        if item.modality != "CT" or not isinstance(volume.source, DicomSeries):
            continue
        header = volume.source.header(0)
        if is_derived_here(header):
            continue
        with quiet():
            texts = [str(header.get(keyword) or "") for keyword in TOLD_BY]
            patients.add(str(header.get("PatientID") or "").strip())
        parts[any(map(CONE_BEAM.search, texts))].append(volume)
    if len(patients) > 1:
        raise InputError(
            "several-patients",
            f"The series of one patient were expected, found {len(patients)} by their PatientID.",
            "Give each a folder, or name the scans ct and cbct where they are one's all the same.",
            folder,
        )
    plain, cone = parts[False], parts[True]
    if len(plain) == len(cone) == 1:
        return plain[0], cone[0]
    for refused in found.refused:
        if refused.open_slices is not None and refused.error.code != "localizer":
            raise refused.error
    raise InputError(
        "not-told-apart",
        f"One CT series without and one with a sign of a cone beam were expected, found {len(plain)} and {len(cone)}.",
        "Put the two to be paired into folders named ct and cbct, or list them in a SPEC.yaml.",
        folder,
    )
