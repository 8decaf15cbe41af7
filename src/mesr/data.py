"""A prepared set in memory, and the pair that a whole slice makes with its degraded form.

What a network sees in training comes from here through `sampling`; what it is judged by, directly.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from torch import Tensor

from .degrade import recipe, seed_of
from .errors import InputError, UsageError
from .grid import Axis, Grid, reference_crop
from .patches import shrinking

MANIFEST = "manifest.json"
FORMAT = 1


@dataclass(frozen=True)
class TrainingSlice:
    """One prepared slice.

    Attributes:
        values: (H, W) int16 or float32 as stored, in the scan's own unit; kept as stored to save memory.
        low, high: its intensity window, mapped to 0…1.
        site: body region, or "all".
        series: position of its series in the set, which balances the sampling.
        modality: "CT" or "MR".
        name: for logs, without patient data.
        paired: likewise (H, W), the same slice as another scanner saw it, which the low resolution is then made
            from (`mesr prepare-pairs`); None where it is made from `values`.
    """

    values: npt.NDArray[Any]
    low: float
    high: float
    site: str
    series: int
    modality: str
    name: str
    paired: npt.NDArray[Any] | None = None

    def patch(self, rows: slice, columns: slice) -> npt.NDArray[np.float32]:
        """A part of it as float32 in the network's range."""
        return self._mapped(self.values[rows, columns])

    def source(self, rows: slice, columns: slice) -> npt.NDArray[np.float32]:
        """The same part of what the low resolution is made from, likewise."""
        return self._mapped((self.values if self.paired is None else self.paired)[rows, columns])

    def _mapped(self, part: npt.NDArray[Any]) -> npt.NDArray[np.float32]:
        return (part.astype(np.float32) - np.float32(self.low)) * np.float32(1.0 / (self.high - self.low))


class Batch(NamedTuple):
    """(N, 1, p, p) low resolution, (N, 1, P, P′) reference, float32, and the grid from one to the other."""

    lr: Tensor
    hr: Tensor
    grid: Grid


def read_manifest(root: Path) -> dict[str, Any]:
    """The manifest of a prepared set.

    Raises:
        InputError: there is none, or of another format.
    """
    try:
        manifest = json.loads((root / MANIFEST).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        manifest = None
    if not isinstance(manifest, dict) or manifest.get("format") != FORMAT:
        raise InputError(
            "no-training-set",
            "The folder is no training set of this version.",
            "Make one with: mesr prepare SCANS -o FOLDER",
            root,
        )
    return manifest


def digest(pixels: Iterable[str]) -> str:
    """What tells a scan in a set, and so in a network's card, whatever its files are called: 16 hex digits.

    Args:
        pixels: the sha256 of each of its slices: as a set keeps it, of pairs before it is cut.
    """
    return hashlib.sha256("".join(sorted(pixels)).encode()).hexdigest()[:16]


def scan_digest(series: Mapping[str, Any]) -> str:
    """The `digest` of a scan that a set holds, by its entry in the manifest: a paired set, which may hold a part of it, says it there."""
    return str(series.get("digest") or digest(entry["sha256"] for entry in series["slices"]))


def spread(length: int, count: int) -> list[int]:
    """`count` places of so many, evenly spread; every one where `count` is 0 or they are no more."""
    if not 0 < count < length:
        return list(range(length))
    return [length * (2 * n + 1) // (2 * count) for n in range(count)]


def load_slices(
    root: Path,
    split: str,
    modalities: Sequence[str],
    sites: Sequence[str] = (),
    series: Sequence[str] = (),
) -> list[TrainingSlice]:
    """The slices of one split, in memory as stored.

    Raises:
        InputError: no set, or none of its slices is asked for.
    """
    found = []
    for number, one in enumerate(read_manifest(root)["series"]):
        if one["split"] != split or one["modality"] not in modalities or (series and one["id"] not in series):
            continue
        low, high = one["window"]
        for entry in one["slices"]:
            if sites and entry["site"] not in sites:
                continue
            values = np.load(root / entry["file"], allow_pickle=False)
            paired = np.load(root / entry["paired"], allow_pickle=False) if "paired" in entry else None
            site, name = entry["site"], entry["file"]
            found.append(TrainingSlice(values, low, high, site, number, one["modality"], name, paired))
    if not found:
        raise InputError(
            "empty-training-set",
            f"The training set holds no {'/'.join(modalities)} slice of split {split!r}"
            + (f" in the sites {', '.join(sites)}" if sites else "")
            + (f" of the scans {', '.join(series)}" if series else "")
            + ".",
        )
    return found


def reference_pair(
    hr: Tensor,
    scale: Fraction | tuple[Fraction, Fraction],
    degradation: str = "bicubic",
    *,
    source: Tensor | None = None,
    seed: int = 0,
) -> Batch:
    """A whole slice cut to a size that `scale` divides, and its degraded form (`grid.reference_crop`).

    Args:
        hr: (N, 1, H, W).
        scale: one for both axes, or one for the rows and one for the columns.
        source: what the low-resolution image is made from where that is not `hr`: the same slice as another scanner
            sees it, on the same pixels. A degradation that begins with a scan expects it scanned.
        seed: of the degradation's noise, which differs between slices that differ.

    Returns:
        The cut reference is taken from the middle; the grid's effective scale is crop / n per axis.

    Raises:
        UsageError: the degradation begins with a scan, and no source is given.
    """
    kind = recipe(degradation)
    if kind.scans and source is None:
        raise UsageError("degradation", f"The degradation {kind.name} needs a scanned slice, found none.")
    cuts = []
    axes = []
    scales = scale if isinstance(scale, tuple) else (scale, scale)
    for size, along in zip(hr.shape[2:], scales, strict=True):
        count, kept = reference_crop(size, along)
        first = (size - kept) // 2
        cuts.append(slice(first, first + kept))
        axes.append(Axis.sized(count, kept))
    rows, columns = axes
    cut, below = (
        image[..., cuts[0], cuts[1]].contiguous() for image in (hr, hr if source is None else source)
    )
    chance = np.random.default_rng(seed_of(hr.numpy(force=True), seed))
    lr = kind.shrink(below, shrinking(rows, 0), shrinking(columns, 0), chance)
    return Batch(lr, cut, Grid.plane(rows, columns))
