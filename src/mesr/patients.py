"""Who is to be paired: the SynthRAD layout, folders of DICOM as exported, a YAML file, or CT scans alone.

A patient's folder holds `ct` and `cbct`, and perhaps `mask`: each a file (`ct.nii.gz`, `ct.mha`, …) or a folder
with one DICOM series. So it is in SynthRAD2023 and 2025, whose patients' names also tell the body region. DICOM files
under other names are sorted by what their headers say (`exported`).
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np

from . import io, prepare
from .config import load
from .errors import InputError, UsageError
from .exported import Exported, exported
from .files import counted
from .io.discovery import files_of
from .layout import layout
from .regions import assert_ranges
from .volume import Note, Volume

SYNTHRAD = re.compile(r"[12](B|P|AB|HN|TH)[A-E]\d{3}")
SITES = {"B": "brain", "P": "pelvis", "AB": "abdomen", "HN": "head-neck", "TH": "thorax"}
EVERY_SLICE = [0, 1 << 30]

Split = Literal["train", "val", ""]


@dataclass
class PatientSpec:
    """One patient's scans.

    Attributes:
        ct: file or folder, relative to the root.
        cbct: likewise; empty where it is to be simulated.
        mask: likewise, on the CT's grid: outside it there is nothing to pair; may be empty.
        patient: any name without patient data; the unit of splitting.
        split: "train", "val", or empty to be drawn.
        licence, source: credited in the manifest and from there in the weights.
        sites: body region to the first and last number in the CT's file names (or slice indices) it covers.
    """

    ct: str
    patient: str
    cbct: str = ""
    mask: str = ""
    split: Split = ""
    licence: str = "not stated"
    source: str = "not stated"
    sites: dict[str, list[int]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        assert_ranges(self.sites, "sites")

    @property
    def simulated(self) -> bool:
        """Whether the CBCT is to be made from the CT."""
        return not self.cbct

    def scans(self) -> tuple[Volume, Volume]:
        """The CT and the CBCT; slices are read when asked for.

        Raises:
            InputError: one cannot be used.
        """
        return io.read(self.ct), io.read(self.cbct)


@dataclass(kw_only=True)
class ExportedSpec(PatientSpec):
    """A patient whose scans were found by their headers, `ct` and `cbct` being folders or files they lie in."""

    found: Exported = field(repr=False)

    @property
    def simulated(self) -> bool:
        """Never: where no CBCT was found there is no pair."""
        return False

    def scans(self) -> tuple[Volume, Volume]:
        """As of any patient.

        Raises:
            InputError: code `not-told-apart`, or that of a series which cannot be used.
        """
        return self.found.pair()


class Cohort(NamedTuple):
    """Who is to be paired, and what is worth telling of them before."""

    patients: list[PatientSpec]
    notes: list[Note]


@dataclass
class CohortSpec:
    """All patients of a paired set, and the folder their paths start from (relative to the file)."""

    patients: list[PatientSpec]
    root: str = "."


def cohort(paths: Sequence[Path], *, simulated: bool) -> Cohort:
    """The patients in what a user named, their paths made absolute.

    Args:
        paths: one YAML file (`CohortSpec`; of `mesr prepare` where simulated), or folders of patients at any
            depth; where simulated, CT scans, one patient each.
        simulated: whether the CBCT is made from the CT.

    Raises:
        UsageError: the YAML file cannot be used, or a patient has no CBCT.
        InputError: codes `no-patients`, `not-found`, `too-many-files`.
    """
    found: list[PatientSpec]
    notes: list[Note] = []
    if len(paths) == 1 and paths[0].suffix.lower() in (".yaml", ".yml"):
        found = list(_of_scans(paths[0]) if simulated else _of_cohort(paths[0]))
    elif simulated:
        places = sorted(str(path.resolve()) for path in paths)
        found = [PatientSpec(place, f"patient-{n:04d}") for n, place in enumerate(places)]
    else:
        found, notes = _of_folders(paths)
    if not found:
        raise InputError(
            "no-patients",
            "Folders with a CT and a CBCT each (ct.nii.gz and cbct.nii.gz, folders ct and cbct, or DICOM files) were"
            " expected, found none.",
            "Rename them so, or list them in a SPEC.yaml.",
            paths[0] if paths else None,
        )
    return Cohort(found, notes)


def drawn(patients: Sequence[PatientSpec], ratio: tuple[int, int], seed: int = 0) -> list[PatientSpec]:
    """Every patient with a split: as given, the others drawn so that train : val is `ratio`, by patient.

    Two patients or more leave at least one to train on, and one to validate on unless `ratio` asks for none.
    """
    splits: dict[str, Split] = {}
    for one in patients:
        splits[one.patient] = splits.get(one.patient, "") or one.split
    names = sorted(name for name, split in splits.items() if not split)
    order = np.random.default_rng(seed).permutation(len(names))
    count = round(len(names) * ratio[1] / sum(ratio))
    given = set(splits.values())
    if ratio[1] and "val" not in given and len(splits) > 1:
        count = max(1, count)
    if "train" not in given and names:
        count = min(count, len(names) - 1)
    for place, n in enumerate(order):
        splits[names[n]] = "val" if place < count else "train"
    return [replace(one, split=one.split or splits[one.patient]) for one in patients]


def ratio_of(text: str) -> tuple[int, int]:
    """`"5:1"` as numbers.

    Raises:
        UsageError: code `split`.
    """
    if re.fullmatch(r"[1-9]\d{0,2}:\d{1,3}", text) is None:
        raise UsageError("split", f"A split reads train:val, such as 5:1; found {text[:20]!r}.")
    train, val = text.split(":")
    return int(train), int(val)


def _of_cohort(path: Path) -> Iterator[PatientSpec]:
    spec = load(CohortSpec, path)
    root = (path.parent / spec.root).resolve()
    for one in spec.patients:
        if not one.cbct:
            raise UsageError(
                "no-cbct",
                "Every patient of the specification needs a cbct, found one without.",
                "Name it, or add --simulate to make all of them from the CT.",
                path,
            )
        mask = str(root / one.mask) if one.mask else ""
        yield replace(one, ct=str(root / one.ct), cbct=str(root / one.cbct), mask=mask)


def _of_scans(path: Path) -> Iterator[PatientSpec]:
    """The CT scans of a specification of `mesr prepare`."""
    spec, root = prepare.specification(path)
    for scan in spec.scans:
        if scan.modality == "CT":
            split: Split = "train" if scan.split == "train" else "val"
            place = str(root / scan.path)
            yield PatientSpec(
                place, scan.patient, split=split, licence=scan.licence, source=scan.source, sites=scan.sites
            )


def _of_folders(paths: Sequence[Path]) -> Cohort:
    """Patients by the names of their folders first, then those by their headers, and what was taken for what."""
    below = layout([path.absolute() for path in paths])
    found: list[PatientSpec] = [_patient(n, folder, scans) for n, (folder, scans) in enumerate(below.named)]
    notes = []
    export = exported(below.homes)
    for one in export.patients:
        name = f"patient-{len(found):04d}"
        if not one.refused:
            notes.append(Note("by-header", f"{name}: {one}."))
        ct, cbct = (_folder(part) for part in (one.plain, one.cone))
        found.append(ExportedSpec(ct=ct, cbct=cbct, patient=name, found=one))
    if unusable := export.unusable + len(below.shut):
        text = counted(unusable, "file, folder or series", "files, folders or series")
        notes.append(
            Note("refused-beside", f"{text} could not be used; what they hold is missing from the scans.")
        )
    return Cohort(found, notes)


def _folder(volumes: Sequence[Volume]) -> str:
    """What all the files of some scans lie in; empty without one."""
    folders = [str(path.parent) for one in volumes for path in files_of(one)]
    return os.path.commonpath(folders) if folders else ""


def _patient(number: int, folder: Path, scans: dict[str, Path]) -> PatientSpec:
    """A folder's name may be the patient's own: only SynthRAD's are taken over."""
    known = SYNTHRAD.fullmatch(folder.name)
    return PatientSpec(
        str(scans["ct"].resolve()),
        folder.name if known else f"patient-{number:04d}",
        cbct=str(scans["cbct"].resolve()),
        mask=str(scans["mask"].resolve()) if "mask" in scans else "",
        sites={SITES[known[1]]: EVERY_SLICE} if known else {},
    )
