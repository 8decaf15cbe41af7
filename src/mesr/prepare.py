"""Scans to a training set: body-cropped slices as arrays, and a manifest that says what they are.

The manifest carries no patient data: names come from the specification or from hashes. A patient belongs to
one split; that is asserted here, by name and by pixel digest, before anything is called finished.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from . import io
from .config import load
from .data import FORMAT, MANIFEST
from .errors import InputError, UsageError
from .files import atomic_folder, safe_name
from .intensity import AIR_HU, missing, window_for
from .resample import fill_padding
from .volume import Mask, Modality, Slice, Volume

BODY_HU = -500.0
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
    """

    path: str
    split: str
    patient: str
    modality: str
    licence: str = "not stated"
    source: str = "not stated"
    sites: dict[str, list[int]] = field(default_factory=dict)


@dataclass
class SetSpec:
    """A training set: its scans and the folder their paths start from (relative to the file)."""

    scans: list[ScanSpec]
    root: str = "."


def specification(path: Path) -> tuple[SetSpec, Path]:
    """A set's YAML file and the folder its scans lie in."""
    spec = load(SetSpec, path)
    for scan in spec.scans:
        if scan.split not in ("train", "val") or scan.modality not in ("CT", "MR"):
            raise UsageError(
                "split",
                "A scan's split is train or val and its modality CT or MR; test scans are never prepared.",
            )
    return spec, (path.parent / spec.root).resolve()


def of_paths(paths: list[Path], modality: Modality, validation: float, seed: int = 0) -> tuple[SetSpec, Path]:
    """A set of one's own scans, one patient a path; `validation` of them are kept for validation."""
    places = sorted(str(path.resolve()) for path in paths)
    order = np.random.default_rng(seed).permutation(len(places))
    kept = set(order[: round(validation * len(places))].tolist()) if len(places) > 1 else set()
    scans = [
        ScanSpec(place, "val" if n in kept else "train", f"patient-{n:04d}", modality)
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
    """
    assert_split(spec)
    with atomic_folder(out, force=force) as folder:
        series = []
        for scan in spec.scans:
            entries = _prepare_scan(scan, root, folder)
            series.extend(entries)
            if on_scan is not None:
                on_scan(scan.path, sum(len(entry["slices"]) for entry in entries))
        assert_slices(series)
        manifest = {"format": FORMAT, "series": series}
        text = json.dumps(manifest, indent=1, sort_keys=True)
        (folder / MANIFEST).write_text(text, encoding="utf-8")
    return manifest


def assert_split(spec: SetSpec) -> None:
    """No patient in two splits.

    Raises:
        InputError: one is.
    """
    splits: dict[str, str] = {}
    for scan in spec.scans:
        if splits.setdefault(scan.patient, scan.split) != scan.split:
            raise InputError(
                "split", "A patient is named in both train and val.", "Keep each patient in one split."
            )


def assert_slices(series: list[dict[str, Any]]) -> None:
    """No slice in two splits, by its pixels.

    Raises:
        InputError: one is.
    """
    splits: dict[str, str] = {}
    for one in series:
        for entry in one["slices"]:
            if splits.setdefault(entry["sha256"], one["split"]) != one["split"]:
                raise InputError("split", "The same slice is in both train and val.")


def _prepare_scan(scan: ScanSpec, root: Path, folder: Path) -> list[dict[str, Any]]:
    entries: list[dict[str, Any]] = []
    window: list[float] | None = None
    slices: list[dict[str, Any]] = []
    name = safe_name(Path(scan.path).name)
    (folder / scan.split / name).mkdir(parents=True, exist_ok=True)
    spacing: tuple[float, ...] = ()
    for volume in volumes(root / scan.path):
        found = window_for(volume) if scan.modality == volume.modality or volume.unit == "HU" else None
        if found is None and volume.modality is not None:
            raise InputError(
                "modality",
                f"The scan is {volume.modality}, but the specification says {scan.modality}.",
                path=scan.path,
            )
        found = found or window_for(volume)
        window = window or [found.low, found.high]
        spacing = spacing or volume.spacing
        for k in range(len(volume.slices)):
            number = slice_number(volume, k)
            values = crop_to_body(volume.slices[k], scan.modality, window)
            file = f"{scan.split}/{name}/{number:05d}-{len(slices):05d}.npy"
            np.save(folder / file, values, allow_pickle=False)
            slices.append(
                {
                    "file": file,
                    "site": site_of(scan.sites, number),
                    "shape": list(values.shape),
                    "sha256": hashlib.sha256(np.ascontiguousarray(values).tobytes()).hexdigest(),
                }
            )
    if not slices:
        raise InputError("no-slices", "The scan has no slice that can be used.", path=scan.path)
    entries.append(
        {
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
    )
    return entries


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
    return int(digits) if digits.isdigit() and len(digits) < 6 else k


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


def site_of(sites: Mapping[str, Sequence[int]], number: int) -> str:
    """The body region of a slice's number, "all" where none covers it."""
    for site, (first, last) in sites.items():
        if first <= number <= last:
            return site
    return "all"
