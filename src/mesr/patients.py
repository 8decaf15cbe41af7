"""Who is to be paired: the SynthRAD layout, folders of DICOM as exported, a YAML file, or CT scans alone.

A patient's folder holds `ct` and `cbct`, and perhaps `mask`: each a file (`ct.nii.gz`, `ct.mha`, …) or a folder
with one DICOM series. So it is in SynthRAD2023 and 2025, whose patients' names also tell the body region. A folder
of DICOM files under other names is one patient's too; `exported` tells its series apart when they are read.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal

import numpy as np

from . import prepare
from .config import load
from .errors import InputError, TooLarge, UnreadableInput, UsageError
from .io.dicom import is_dicom
from .io.formats import READ_BY_SUFFIX, suffix_of
from .limits import MAX_FILES
from .regions import assert_ranges

SCANS = ("ct", "cbct", "mask")
SYNTHRAD = re.compile(r"[12](B|P|AB|HN|TH)[A-E]\d{3}")
SITES = {"B": "brain", "P": "pelvis", "AB": "abdomen", "HN": "head-neck", "TH": "thorax"}
EVERY_SLICE = [0, 1 << 30]

Split = Literal["train", "val", ""]


@dataclass
class PatientSpec:
    """One patient's scans.

    Attributes:
        ct: file or folder, relative to the root.
        cbct: likewise; empty where it is to be simulated, the same as `ct` where one folder holds the series of both.
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


@dataclass
class CohortSpec:
    """All patients of a paired set, and the folder their paths start from (relative to the file)."""

    patients: list[PatientSpec]
    root: str = "."


def cohort(paths: Sequence[Path], *, simulated: bool) -> list[PatientSpec]:
    """The patients in what a user named, their paths made absolute.

    Args:
        paths: one YAML file (`CohortSpec`; of `mesr prepare` where simulated), or folders of patients at any
            depth; where simulated, CT scans, one patient each.
        simulated: whether the CBCT is made from the CT.

    Raises:
        UsageError: the YAML file cannot be used, or a patient has no CBCT.
        InputError: code `no-patients`.
    """
    if len(paths) == 1 and paths[0].suffix.lower() in (".yaml", ".yml"):
        found = list(_of_scans(paths[0]) if simulated else _of_cohort(paths[0]))
    elif simulated:
        places = sorted(str(path.resolve()) for path in paths)
        found = [PatientSpec(place, f"patient-{n:04d}") for n, place in enumerate(places)]
    else:
        found = [_patient(n, folder, scans) for n, (folder, scans) in enumerate(_all_folders(paths))]
    if not found:
        raise InputError(
            "no-patients",
            "Folders with a CT and a CBCT each (ct.nii.gz and cbct.nii.gz, folders ct and cbct, or DICOM files) were"
            " expected, found none.",
            "Rename them so, or list them in a SPEC.yaml.",
            paths[0] if paths else None,
        )
    return found


def drawn(patients: Sequence[PatientSpec], ratio: tuple[int, int], seed: int = 0) -> list[PatientSpec]:
    """Every patient with a split: as given, the others drawn so that train : val is `ratio`, by patient.

    Two patients or more leave at least one to validate on.
    """
    splits: dict[str, Split] = {}
    for one in patients:
        splits[one.patient] = splits.get(one.patient, "") or one.split
    names = sorted(name for name, split in splits.items() if not split)
    order = np.random.default_rng(seed).permutation(len(names))
    count = round(len(names) * ratio[1] / sum(ratio))
    if "val" not in splits.values() and len(names) > 1:
        count = max(1, count)
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


def _all_folders(paths: Sequence[Path]) -> Iterator[tuple[Path, dict[str, Path]]]:
    """Every patient's folder and what of it is which scan, those with names of ours first."""
    for path in paths:
        named = list(_named(path))
        yield from named
        for folder in _exported(path, [place for place, _ in named]):
            yield folder, {"ct": folder, "cbct": folder}


def _named(path: Path) -> Iterator[tuple[Path, dict[str, Path]]]:
    """Every folder that holds a CT and a CBCT by their names."""
    for place, folders, files in _walked(path):
        scans = _scans(place, [*folders, *files])
        if {"ct", "cbct"} <= set(scans):
            folders.clear()
            yield place, scans


def _exported(path: Path, named: Sequence[Path]) -> Iterator[Path]:
    """The folder itself where it holds DICOM files, else every folder in it with such files below; no named ones."""
    _, folders, files = next(iter(_walked(path)), (path, [], []))
    alone = any(_is_dicom(path / name) for name in files)
    for folder in [path] if alone else [path / name for name in folders]:
        apart = not any(folder.is_relative_to(one) or one.is_relative_to(folder) for one in named)
        if apart and any(_is_dicom(place / name) for place, _, names in _walked(folder) for name in names):
            yield folder


def _walked(path: Path) -> Iterator[tuple[Path, list[str], list[str]]]:
    """As `os.walk`, in order of names; hidden ones are passed over.

    Raises:
        TooLarge: code `too-many-files`.
    """
    seen = 0
    for place, folders, files in os.walk(path):
        seen += len(files) + len(folders)
        if seen > MAX_FILES:
            raise TooLarge("too-many-files", f"The folder holds more than {MAX_FILES} files.", path=path)
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        yield Path(place), folders, sorted(name for name in files if not name.startswith("."))


def _is_dicom(path: Path) -> bool:
    try:
        return path.is_file() and is_dicom(path)
    except UnreadableInput:
        return False  # It is told of when it is read.


def _scans(folder: Path, names: Sequence[str]) -> dict[str, Path]:
    """What of a folder is which scan; of several under one name the first."""
    found: dict[str, Path] = {}
    for name in names:
        suffix = suffix_of(Path(name))
        kind = name.lower().removesuffix(suffix)
        if kind in SCANS and (suffix in READ_BY_SUFFIX or (folder / name).is_dir()):
            found.setdefault(kind, folder / name)
    return found


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
