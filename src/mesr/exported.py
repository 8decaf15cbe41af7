"""What an archive exported: whose series are whose, and which of a patient's CTs is the cone-beam one, by their headers.

DICOM has no attribute for a cone beam. The name of the machine tells (`OBI Cone-beam CT`, `XVI`: what treats has no other
CT), or the series' description or protocol, which may name a machine that only treats later, so that a machine's name
counts for nothing there.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from pydicom import Dataset

from . import io
from .errors import InputError, MesrError
from .io.dicom import DicomSeries
from .io.dicom.header import quiet
from .io.dicom.identity import is_derived_here
from .volume import Volume

CONE_BEAM = re.compile(r"cb[\s_-]*ct|cone[\s_-]*beam|volume[\s_-]*view", re.IGNORECASE)
MACHINE = re.compile(
    r"on[\s_-]*board|true[\s_-]*beam|halcyon|hypersight|ethos|mvision|(?<![a-z])(obi|xvi)(?![a-z])",
    re.IGNORECASE,
)


@dataclass
class Exported:
    """One patient's CT series; other modalities, single slices and results of this software are passed over.

    Attributes:
        plain: those that say nothing of a cone beam; their slices are read when asked for.
        cone: those that do.
        refused: why others cannot be used.
    """

    plain: list[Volume] = field(default_factory=list)
    cone: list[Volume] = field(default_factory=list)
    refused: list[MesrError] = field(default_factory=list)

    def pair(self) -> tuple[Volume, Volume]:
        """The CT and the cone-beam CT.

        Raises:
            InputError: code `not-told-apart`, there is not one of each; or that of a series which cannot be used.
        """
        if self.refused:
            raise self.refused[0]
        if len(self.plain) == len(self.cone) == 1:
            return self.plain[0], self.cone[0]
        raise InputError(
            "not-told-apart",
            "One CT series without and one with a sign of a cone beam were expected, found"
            f" {len(self.plain)} and {len(self.cone)}.",
            "Put the two to be paired into folders named ct and cbct, or list them in a SPEC.yaml.",
        )

    def __str__(self) -> str:
        """What was taken for what: `CT 120 × 3 mm, cone-beam CT 88 × 2 mm`; no patient data."""
        told = [f"{name} {one.geometry.size[0]} × {one.geometry.spacing[0]:.3g} mm"
                for name, part in (("CT", self.plain), ("cone-beam CT", self.cone)) for one in part]  # fmt: skip
        return ", ".join(told)


class Export(NamedTuple):
    """What `exported` found.

    Attributes:
        patients: in the order of their files.
        unusable: files and series that cannot be used and say not whose they are.
    """

    patients: list[Exported]
    unusable: int


def exported(homes: Mapping[Path, Path]) -> Export:
    """The patients in DICOM files and zips of them, told apart by PatientID. Reads headers only.

    Args:
        homes: each file's folder whose files are one patient's where they name none.
    """
    found = io.discover(list(homes))
    order = {path: n for n, path in enumerate(homes)}
    patients: dict[str, Exported] = {}
    places: dict[str, int] = {}
    unusable = 0

    def owner(volume: Volume) -> tuple[Exported, Dataset] | None:
        """Whose it is, and its header; None where it is no CT that was exported."""
        if volume.modality != "CT" or not isinstance(volume.source, DicomSeries):
            return None
        header = volume.source.header(0)
        path = volume.source.instances[0].path
        with quiet():
            if is_derived_here(header):
                return None
            name = _text(header, "PatientID").strip().casefold() or f"\0{homes.get(path, path.parent)}"
        places[name] = min(order.get(path, len(order)), places.get(name, len(order)))
        return patients.setdefault(name, Exported()), header

    for item in found.items:
        if item.format == "dicom" and item.size[0] > 1:
            volume = item.open()
            if (owned := owner(volume)) is not None:
                patient, header = owned
                (patient.cone if _is_cone_beam(header) else patient.plain).append(volume)
    for refused in found.refused:
        if refused.error.code in ("localizer", "no-images"):
            continue
        try:
            slices = refused.open_slices() if refused.open_slices else []
        except InputError:
            slices = []
        if not slices:
            unusable += 1
        elif (owned := owner(slices[0])) is not None:
            owned[0].refused.append(refused.error)
    return Export([patients[name] for name in sorted(patients, key=places.__getitem__)], unusable)


def _is_cone_beam(header: Dataset) -> bool:
    with quiet():
        machine = _text(header, "ManufacturerModelName")
        texts = [machine, *(_text(header, keyword) for keyword in ("SeriesDescription", "ProtocolName"))]
    return MACHINE.search(machine) is not None or any(map(CONE_BEAM.search, texts))


def _text(header: Dataset, keyword: str) -> str:
    try:
        return str(header.get(keyword) or "")
    except Exception:  # What pydicom cannot decode tells nothing. Its message may quote the value.
        return ""
