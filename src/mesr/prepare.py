"""Scans to a training set: body-cropped slices as arrays, and a manifest that says what they are.

The manifest carries no patient data: names come from the specification, or are numbers. A patient belongs to
one split; that is asserted here, by name and by pixel digest, before anything is called finished.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from . import io
from .config import load
from .data import FORMAT, MANIFEST, read_manifest
from .errors import InputError, OutputError, UsageError
from .files import atomic_folder, check_replaceable, safe_name
from .intensity import AIR_HU, BODY_HU, Window, missing, window_for
from .modality import identified
from .regions import assert_covered, assert_ranges, site_of
from .resample import fill_padding
from .volume import Mask, Modality, Slice, Volume

BORDER = 16
SMALLEST = 240
"""Pixels kept on each side of the body, and the least a cropped side has where the slice is as large."""


@dataclass
class ScanSpec:
    """One scan of a training set.

    Attributes:
        path: file or folder, relative to the root.
        split: "train" or "val".
        patient: any name; the unit of splitting.
        modality: "CT" or "MR".
        licence, source: credited in the manifest and from there in the weights.
        sites: body region to the first and last number in the file names (or slice indices) it covers.
        name: in the manifest and the weights; the path's last part where empty.
    """

    path: str
    split: str
    patient: str
    modality: Modality
    licence: str = "not stated"
    source: str = "not stated"
    sites: dict[str, list[int]] = field(default_factory=dict)
    name: str = ""

    def __post_init__(self) -> None:
        assert_ranges(self.sites, "sites")

    @property
    def label(self) -> str:
        """What the manifest calls it."""
        return safe_name(self.name or Path(self.path).name)


@dataclass
class SetSpec:
    """A training set: its scans and the folder their paths start from (relative to the file)."""

    scans: list[ScanSpec]
    root: str = "."


def specification(path: Path) -> tuple[SetSpec, Path]:
    """A set's YAML file and the folder its scans lie in."""
    spec = load(SetSpec, path)
    for scan in spec.scans:
        if scan.split not in ("train", "val"):
            raise UsageError(
                "split",
                "A scan's split is train or val; test scans are never prepared.",
            )
    return spec, (path.parent / spec.root).resolve()


def of_paths(paths: list[Path], modality: Modality, validation: float, seed: int = 0) -> tuple[SetSpec, Path]:
    """A set of one's own scans, one patient a path; `validation` of them, at least one of several, are kept for validation.

    They are numbered: a file's name may be the patient's.
    """
    places = sorted(str(path.resolve()) for path in paths)
    order = np.random.default_rng(seed).permutation(len(places))
    count = max(1, round(validation * len(places))) if validation and len(places) > 1 else 0
    kept = set(order[:count].tolist())
    scans = [
        ScanSpec(place, "val" if n in kept else "train", f"patient-{n:04d}", modality, name=f"scan-{n:04d}")
        for n, place in enumerate(places)
    ]
    return SetSpec(scans), Path("/")


def prepare(
    spec: SetSpec,
    root: Path,
    out: Path,
    *,
    force: bool = False,
    on_scan: Callable[[str, int], None] | None = None,
) -> dict[str, Any]:
    """Write the training set and give its manifest.

    Raises:
        InputError: a scan cannot be read, or a patient or a slice is in both splits.
        OutputError: the set cannot be written there, or would replace something else.
    """
    assert_names(spec)
    assert_split(spec)
    check_place(out, [root / scan.path for scan in spec.scans], force=force)
    with atomic_folder(out, force=force) as folder:
        series = []
        for scan in spec.scans:
            series.append(_prepare_scan(scan, root, folder))
            if on_scan is not None:
                on_scan(scan.path, len(series[-1]["slices"]))
        assert_slices(series)
        manifest = {"format": FORMAT, "series": series}
        text = json.dumps(manifest, indent=1, sort_keys=True)
        (folder / MANIFEST).write_text(text, encoding="utf-8")
    return manifest


def check_place(out: Path, scans: Sequence[Path], *, force: bool = False) -> None:
    """Refuse a place for a training set that holds anything but an earlier one, or a scan it is made from.

    Raises:
        OutputError: codes `exists`, `unwritable`, `output-is-input`, `other-files`.
    """
    otherwise = "The output to replace holds other things than a training set."
    check_replaceable(out, scans, _is_set, otherwise, force=force)
    if out.exists() and any(scan.resolve() in out.resolve().parents for scan in scans):
        raise OutputError(
            "output-is-input",
            "An earlier set inside a scan's folder would be read as a part of the scan.",
            "Remove it, or choose a folder outside.",
            out,
        )


def _is_set(folder: Path) -> bool:
    """Whether there is a training set in `folder`, and no file that its manifest does not name."""
    # Here, since it builds on this module.
    from . import quality

    try:
        slices = [one for series in read_manifest(folder)["series"] for one in series["slices"]]
        known = {folder / one[key] for one in slices for key in ("file", "paired") if key in one}
    except (InputError, KeyError, TypeError):
        return False
    known |= {folder / name for name in (MANIFEST, quality.JSON, quality.CSV)}
    return all(path in known or (path.is_dir() and not path.is_symlink()) for path in folder.rglob("*"))


def assert_names(spec: SetSpec) -> None:
    """No two scans of one name, under which their slices are filed.

    Raises:
        InputError: there are, code `same-name`.
    """
    names = [scan.label for scan in spec.scans]
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise InputError(
            "same-name",
            f"Every scan of a set needs a name of its own, found {twice} more than once.",
            "Give them names in the specification: name: NAME.",
        )


def assert_split(spec: SetSpec) -> None:
    """No patient in two splits.

    Raises:
        InputError: one is, code `split`.
    """
    splits: dict[str, str] = {}
    for scan in spec.scans:
        if splits.setdefault(scan.patient, scan.split) != scan.split:
            raise InputError(
                "split", "A patient is named in both train and val.", "Keep each patient in one split."
            )


def assert_slices(series: list[dict[str, Any]]) -> None:
    """No slice in two splits, by its pixels. Blank ones look alike whoever they are of.

    Raises:
        InputError: one is.
    """
    splits: dict[str, str] = {}
    for one in series:
        for entry in one["slices"]:
            if not entry.get("blank") and splits.setdefault(entry["sha256"], one["split"]) != one["split"]:
                raise InputError(
                    "split",
                    "The same slice is in both train and val.",
                    "Name all scans of one person alike, as `patient` in a specification.",
                )


def _prepare_scan(scan: ScanSpec, root: Path, folder: Path) -> dict[str, Any]:
    """A scan's slices on disk, and its entry in the manifest."""
    name = scan.label
    (folder / scan.split / name).mkdir(parents=True, exist_ok=True)
    slices: list[dict[str, Any]] = []
    spacing: tuple[float, ...] = ()
    window: list[float] = []
    numbers: list[int] = []
    for one in prepared(root / scan.path, scan.modality):
        numbers.append(one.number)
        spacing, window = spacing or one.spacing, [one.window.low, one.window.high]
        file = f"{scan.split}/{name}/{len(slices):05d}.npy"
        np.save(folder / file, one.values, allow_pickle=False)
        slices.append(
            {
                "file": file,
                "site": site_of(scan.sites, one.number),
                "shape": list(one.values.shape),
                "sha256": one.sha256,
            }
            | ({"blank": True} if one.values.min() == one.values.max() else {})
        )
    if not slices:
        raise InputError("no-slices", "The scan has no slice that can be used.", path=scan.path)
    assert_covered(scan.sites, numbers, name)
    return {
        "id": name,
        "patient": scan.patient,
        "split": scan.split,
        "modality": scan.modality,
        "licence": scan.licence,
        "source": scan.source,
        "spacing": list(spacing),
        "window": window,
        "slices": slices,
    }


class Prepared(NamedTuple):
    """A slice as a training set keeps it.

    Attributes:
        values: (H, W), cropped to the body, in the scan's unit.
        number: `slice_number`.
        window: of the scan's first volume, for all of them.
        spacing: (dz, dy, dx) mm of its volume.
    """

    values: npt.NDArray[Any]
    number: int
    window: Window
    spacing: tuple[float, ...]

    @property
    def sha256(self) -> str:
        """Of its pixels."""
        return hashlib.sha256(np.ascontiguousarray(self.values).tobytes()).hexdigest()


def prepared(path: Path, modality: Modality) -> Iterator[Prepared]:
    """Every slice under a path as a training set keeps it.

    Raises:
        InputError: it cannot be read, or is of another modality, code `modality`.
    """
    window: Window | None = None
    for volume in volumes(path):
        if volume.modality not in (modality, None):
            raise InputError("modality", f"The scan is {volume.modality}, expected {modality}.", path=path)
        volume = identified(volume, modality)
        window = window or window_for(volume)
        yield from prepared_slices(volume, modality, window)


def prepared_slices(volume: Volume, modality: Modality, window: Window) -> Iterator[Prepared]:
    """Every slice of a volume as a training set keeps it; those of a scan's volumes share a window."""
    for k in range(len(volume.slices)):
        values = crop_to_body(volume.slices[k], modality, [window.low, window.high])
        yield Prepared(values, slice_number(volume, k), window, volume.spacing)


def volumes(path: Path) -> Iterator[Volume]:
    """Every volume under a path; a series whose gaps are uneven comes slice by slice.

    Raises:
        InputError: nothing under it can be read.
    """
    found = io.discover([path])
    for refused in found.refused:
        if refused.open_slices is None:
            raise refused.error
        yield from refused.open_slices()
    for item in found.items:
        yield item.open()


def slice_number(volume: Volume, k: int) -> int:
    """The number in the slice's file name, else its index: what `sites` ranges count."""
    instances = getattr(volume.source, "instances", None)
    stem = instances[k].path.stem if instances is not None else ""
    digits = stem.split("_")[0]
    return int(digits) if digits.isascii() and digits.isdigit() and len(digits) < 6 else k


def crop_to_body(one: Slice, modality: str, window: list[float]) -> npt.NDArray[Any]:
    """The part of a slice that holds the body, with a border; padding filled, air not below −1024 HU.

    Returns:
        int16 where the values are whole and fit, else float32.
    """
    values = one.values
    padding = missing(values, one.padding, "HU" if modality == "CT" else "")
    if padding is not None:
        values = fill_padding(values, padding)
    if modality == "CT":
        values = np.maximum(values, np.float32(AIR_HU))
    threshold = BODY_HU if modality == "CT" else window[0] + 0.1 * (window[1] - window[0])
    body = values > threshold
    rows, columns = body_extent(body)
    values = values[rows, columns]
    whole = np.rint(values)
    if np.array_equal(whole, values) and abs(values).max(initial=0) < 32_767:
        return np.asarray(values, dtype=np.int16)
    return np.ascontiguousarray(values)


def body_extent(body: Mask) -> tuple[slice, slice]:
    """The rows and columns that hold a body, with a border, at least `SMALLEST` of each where there are."""
    rows, columns = (_extent(body.mean(axis=axis) > 0.01) for axis in (1, 0))
    return rows, columns


def _extent(inside: Mask) -> slice:
    found = np.flatnonzero(inside)
    if not len(found):
        return slice(0, len(inside))
    first, last = max(0, int(found[0]) - BORDER), min(len(inside), int(found[-1]) + 1 + BORDER)
    lacking = max(0, min(SMALLEST, len(inside)) - (last - first))
    first = max(0, first - (lacking + 1) // 2)
    last = min(len(inside), max(last, first + min(SMALLEST, len(inside))))
    return slice(min(first, last - min(SMALLEST, len(inside))), last)
